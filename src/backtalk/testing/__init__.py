"""Checks for plug-ins: properties that every model, embedder, reward or decoder must have.

Call them from a test of your plug-in:

>>> from backtalk.embedders import HashedTfidf
>>> from backtalk.testing import check_embedder
>>> check_embedder(HashedTfidf.fit(["open at nine"], dimension=16), ["open", "closed", ""])
"""

from backtalk.testing.decoders import check_decoder
from backtalk.testing.embedders import check_embedder
from backtalk.testing.models import check_model
from backtalk.testing.rewards import check_oracle, check_reward

__all__ = ["check_decoder", "check_embedder", "check_model", "check_oracle", "check_reward"]
