"""Backtalk: learn from feedback on the answers of a language model.

The names that most programs need are listed in ``__init__.pyi``. Each is imported when it is first
used: ``import backtalk`` is fast and imports nothing heavy.

>>> import backtalk
>>> interaction = backtalk.Interaction.of("Are you open?", "Yes.", "We open at nine.")
>>> ada = backtalk.Annotator.human("ada")
>>> preference = backtalk.Preference(
...     interaction=interaction.id, annotator=ada, a="1", b="0", verdict="a"
... )
>>> with backtalk.Store(":memory:") as store:
...     store.add(interaction, preference).feedback
1
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
