"""Post-hoc OOD detectors over pytorch-ood, as scores of any trained classifier."""
