"""Bootstraps, paired differences and a surrogate: numbers in, numbers with intervals out."""
