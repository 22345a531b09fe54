"""Decoders: how a policy spends compute on an answer."""

from backtalk.decode.base import (
    Decoder,
    DecoderBase,
    DecoderOutput,
    get_decoder,
    register_decoder,
)
from backtalk.decode.best_of_n import BestOfN
from backtalk.decode.sample import Sample

__all__ = [
    "BestOfN",
    "Decoder",
    "DecoderBase",
    "DecoderOutput",
    "Sample",
    "get_decoder",
    "register_decoder",
]
