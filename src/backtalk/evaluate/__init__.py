"""Comparing policies: let them answer the same prompts, and have a judge score the answers."""
