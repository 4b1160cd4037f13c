"""Recipes: what one kind of training is."""
