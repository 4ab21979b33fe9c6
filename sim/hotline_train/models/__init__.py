"""The models that are trained: everything but their embedding tables."""
