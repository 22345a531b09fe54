"""Models on this machine, by transformers."""
