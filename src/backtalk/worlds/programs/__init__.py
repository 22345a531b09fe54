"""Programs world: small functions from a specification, scored by running them."""
