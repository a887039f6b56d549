"""TensorRT: plans are built, kept, loaded and run."""
