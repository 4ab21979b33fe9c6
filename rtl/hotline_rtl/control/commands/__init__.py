"""Carrying out commands: checked, in up to three slots at a time, completed in order."""
