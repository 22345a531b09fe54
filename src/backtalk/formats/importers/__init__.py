"""Import formats, each registered by the module that parses it."""

from backtalk.formats.importers import (
    alpaca_eval,
    argilla,
    backtalk,
    fine_grained_qa,
    gsm8k,
    hh_rlhf,
    ilf_mbpp,
    openai,
    openassistant,
    prm800k,
    trl,
    ultrafeedback,
)

__all__ = [
    "alpaca_eval",
    "argilla",
    "backtalk",
    "fine_grained_qa",
    "gsm8k",
    "hh_rlhf",
    "ilf_mbpp",
    "openai",
    "openassistant",
    "prm800k",
    "trl",
    "ultrafeedback",
]
