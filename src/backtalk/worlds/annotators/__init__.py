"""Simulated people: every kind of feedback, from the true utility, with noise and bias."""

from backtalk.worlds.annotators.crowd import Crowd, Group, crowd
from backtalk.worlds.annotators.feedback import KINDS
from backtalk.worlds.annotators.person import SECONDS, Person, read_manner
from backtalk.worlds.annotators.variance import Disagreement, disagreement

__all__ = [
    "KINDS",
    "SECONDS",
    "Crowd",
    "Disagreement",
    "Group",
    "Person",
    "crowd",
    "disagreement",
    "read_manner",
]
