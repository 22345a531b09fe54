"""Learning of several prompts with a model that selects one for each request."""
