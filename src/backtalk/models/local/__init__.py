"""Local models, by transformers."""
