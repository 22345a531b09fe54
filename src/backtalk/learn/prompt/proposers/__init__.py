"""Proposers of prompts: the parts of optimisers that make new candidates, one file each."""
