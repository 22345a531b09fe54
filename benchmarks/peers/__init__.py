"""Prompt optimisers of other projects, run on the same loopback endpoint with the same budget."""
