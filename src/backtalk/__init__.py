"""Your users talk back. Backtalk makes your model learn from it.

The names that most programs need stand here, as ``__init__.pyi`` lists them. Each is loaded when
it is first used: ``import backtalk`` takes no time and loads nothing heavy.

>>> import backtalk
>>> talk = backtalk.Interaction.of("Is it open?", "Yes.", "We open at nine.")
>>> said = backtalk.Preference(
...     interaction=talk.id, annotator=backtalk.Annotator.human("ada"), a="1", b="0", verdict="a"
... )
>>> with backtalk.Store(":memory:") as store:
...     store.add(talk, said).feedback
1
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
