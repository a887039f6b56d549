"""ONNX graphs in other precisions, and what these cost in colour."""
