"""Benchmarks that compare Backtalk with peers in one run."""
