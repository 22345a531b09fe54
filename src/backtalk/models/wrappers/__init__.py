"""Caching, budgets and recording around any model."""
