"""Conversions from kinds of feedback to views, the shapes of training data that learners read.

Feedback converts, methods do not multiply: a method names the view that it needs, and all feedback
that can be converted to it is used. Each conversion takes a case and returns the views that the
feedback of one kind gives; ``views`` runs all conversions to a view.

>>> from backtalk.feedback import Annotator, Interaction, Ranking
>>> from backtalk.feedback.case import Case
>>> from backtalk.feedback.views import Pair
>>> interaction = Interaction.of("Name a prime.", "7", "9", "2")
>>> ranking = Ranking(interaction=interaction.id, annotator=Annotator.human("ada"),
...                   tiers=(("0", "2"), ("1",)))
>>> [(p.chosen, p.rejected, p.tie) for p in views(Case(interaction, (ranking,)), Pair)]
[('7', '2', True), ('7', '9', False), ('2', '9', False)]
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
