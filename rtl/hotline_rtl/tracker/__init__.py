"""The hot-entry tracker: its banks, policies, and the engine that reads and replaces its contents."""
