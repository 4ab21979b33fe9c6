"""Studies: what measured parts add up to."""
