"""One NVIDIA GPU: its driver, its memory and the kernels that colour frames on it."""
