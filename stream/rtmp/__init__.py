"""RTMP: its messages, and the way to publish over it."""
