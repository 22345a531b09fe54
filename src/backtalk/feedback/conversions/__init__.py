"""The conversions between kinds of feedback and the shapes that learners read.

Feedback converts, methods do not multiply: a method names the view it needs, and whatever feedback
can be seen that way drives it. Each conversion takes a case, an interaction with its feedback, and
returns what the feedback of one kind says in the target's terms; ``views`` runs all that lead to a
target.

>>> from backtalk.feedback import Annotator, Interaction, Ranking
>>> talk = Interaction.of("Name a prime.", "7", "9", "2")
>>> order = Ranking(interaction=talk.id, annotator=Annotator.human("ada"),
...                 tiers=(("0", "2"), ("1",)))
>>> [(p.chosen, p.rejected, p.tie) for p in views(Case(talk, (order,)), Pair)]
[('7', '2', True), ('7', '9', False), ('2', '9', False)]
"""

from backtalk.feedback.conversions import critiques, examples, labels, pairs, scores
from backtalk.feedback.conversions import weights as parts
from backtalk.feedback.conversions.registry import (
    CONVERSIONS,
    Conversion,
    conversion,
    conversions_to,
    views,
)
from backtalk.feedback.views import Case, Pair

__all__ = [
    "CONVERSIONS",
    "Case",
    "Conversion",
    "Pair",
    "conversion",
    "conversions_to",
    "critiques",
    "examples",
    "labels",
    "pairs",
    "parts",
    "scores",
    "views",
]
