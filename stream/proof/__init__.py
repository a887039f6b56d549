"""The proof that a result is its source."""
