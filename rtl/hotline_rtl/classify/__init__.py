"""From sample records to popular and non-popular micro-batch records."""
