"""Rows of any length and alignment, moved as bus beats."""
