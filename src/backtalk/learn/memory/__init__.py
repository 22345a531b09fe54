"""Learning of memories: feedback becomes entries with a scope."""
