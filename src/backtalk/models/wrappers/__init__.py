"""Wrappers around any model: cache, budget, recorder, dynamic batching."""
