"""From sample records to beats of words whose accesses are known."""
