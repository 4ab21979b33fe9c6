"""Logs in formats of others, read in order, a piece at a time."""
