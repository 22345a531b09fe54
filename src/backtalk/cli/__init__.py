"""The command line."""

from backtalk.cli.main import main

__all__ = ["main"]
