"""Measured effect of memory entries on feedback, and retirement of harmful entries.

An entry that applies to a prompt is withheld at random with a small logged probability. Feedback
on answers with and without it then shows its effect. Two outcomes are measured: *judgements*
(labels, ratings, outcomes of checks, comparisons) and *corrections* (edits, critiques, complaints;
an answer that nobody corrects within an hour counts as right).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
