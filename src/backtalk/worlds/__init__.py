"""Simulated tasks with known truth, and simulated people."""
