"""What a run counts: times of stages, ages of frames, metrics for Prometheus."""
