"""Traces whose samples lie in arrays in files, of which only the parts that are asked for come into memory."""
