"""The ``hotline`` command: the front door of everything."""
