"""Search for the tokens of a prompt by gradients of a local model."""
