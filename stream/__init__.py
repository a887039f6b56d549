"""Frames in, coloured frames out."""
