"""Training of the small models: ``python -m backtalk.worlds.train WORLD``."""
