"""Learning of prompts: one search for all optimisers, with a gate that holds over the search."""
