"""The hot-entry tracker: placement, replacement policies, sample weights, and the tracker itself."""
