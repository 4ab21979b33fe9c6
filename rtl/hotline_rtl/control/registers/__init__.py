"""The registers, described once in ``hotline.rdl``."""
