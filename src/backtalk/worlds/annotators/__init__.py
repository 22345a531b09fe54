"""Simulated annotators: all kinds of feedback from the true utility, with noise and bias."""

from backtalk.worlds.annotators.crowd import Crowd, Group, make_crowd
from backtalk.worlds.annotators.feedback import FEEDBACK_KINDS, give_feedback
from backtalk.worlds.annotators.person import SECONDS_PER_ITEM, Person, parse_person_options
from backtalk.worlds.annotators.variance import VarianceComponents, variance_components

__all__ = [
    "FEEDBACK_KINDS",
    "SECONDS_PER_ITEM",
    "Crowd",
    "Group",
    "Person",
    "VarianceComponents",
    "give_feedback",
    "make_crowd",
    "parse_person_options",
    "variance_components",
]
