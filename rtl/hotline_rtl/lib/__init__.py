"""Blocks and helpers that any design could use; they know nothing of this one."""
