"""Searches replayed on recorded tables of trials: what each would have found, and at what cost."""
