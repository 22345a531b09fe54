"""Evaluation of policies: answers to the same prompts, scored by a judge and compared."""

from backtalk.callable_package import make_callable

make_callable(__name__)
