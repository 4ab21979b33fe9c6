"""What trackers are judged by: the best fixed hot set, and published schemes."""
