"""The host side of an accelerator: its driver, what it checks, and what it raises."""
