"""What a command asks for, as transfers: streams of words, gathered rows, scattered rows."""
