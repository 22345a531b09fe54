"""Sums world: word problems and expressions with worked answers."""
