"""Live sources: cameras, streams, films as if live; on time, and back after a loss."""
