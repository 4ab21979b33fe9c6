"""What accepts commands and models, and refuses what would do harm."""
