"""Training objectives, each a plain function of tensors."""
