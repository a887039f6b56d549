"""A model file in, ab out."""
