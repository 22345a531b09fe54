"""Checks for plug-ins: properties that every model, embedder, reward or decoder must have.

Subclass the laws in a test module, as ``class TestParrot(ModelLaws)``, or call the checks:

>>> from backtalk.embedders import HashedTfidf
>>> from backtalk.testing import check_embedder
>>> check_embedder(HashedTfidf.fit(["open at nine"], dimension=16), ["open", "closed", ""])
"""

from backtalk.testing.decoders import DecoderLaws, check_decoder
from backtalk.testing.embedders import EmbedderLaws, check_embedder
from backtalk.testing.models import ModelLaws, check_model
from backtalk.testing.rewards import RewardLaws, check_oracle, check_reward

__all__ = [
    "DecoderLaws",
    "EmbedderLaws",
    "ModelLaws",
    "RewardLaws",
    "check_decoder",
    "check_embedder",
    "check_model",
    "check_oracle",
    "check_reward",
]
