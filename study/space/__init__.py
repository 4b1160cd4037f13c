"""A space: YAML read, checked as a whole, and turned into a spec and into points to search."""
