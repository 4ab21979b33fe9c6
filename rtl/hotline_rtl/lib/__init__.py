"""Blocks and helpers of any design."""
