"""What else trains the same model, and how all are timed."""
