"""Classifiers and their weights on disk."""
