"""Simulated studies whose truth is known, to judge what is said of a choice."""
