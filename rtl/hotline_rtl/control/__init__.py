"""Commands: from the ring in host memory, through checks and scheduling, to their completions."""
