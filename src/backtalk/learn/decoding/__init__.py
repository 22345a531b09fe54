"""Methods that change how a policy decodes."""

from backtalk.learn.decoding import best_of_n

__all__ = ["best_of_n"]
