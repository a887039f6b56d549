"""A run as a value: its options, its job, its progress and its report."""
