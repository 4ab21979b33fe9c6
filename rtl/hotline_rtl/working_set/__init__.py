"""The distinct cold rows of a non-popular micro-batch, numbered in order of first use."""
