"""Prompt optimisers by name, each registered as a method."""
