"""Weights that outlive a run of training: bases, initialisations, checkpoints, the chosen."""
