"""Evaluation of policies: answers to the same prompts, scored by a judge and compared."""
