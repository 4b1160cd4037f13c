"""Pictures; every function returns a matplotlib Figure."""
