"""Image sets with roles: where they come from, that they do not leak, and how batches are made."""
