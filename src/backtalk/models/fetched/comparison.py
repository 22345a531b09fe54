"""Comparison of a converted model with llama.cpp's server on ten chats."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from backtalk.errors import BacktalkError
from backtalk.feedback import Message
from backtalk.models.local.model import LocalModel

MAX_TOKENS = 24
MEAN_BOUND = 0.1
"""Maximum mean difference of log-probabilities, in nats a token."""
TOKEN_BOUND = 0.6
"""Maximum difference of the log-probability of a token, in nats.

llama.cpp rounds activations to eight bits to multiply them with 4-bit weights, so that single
tokens differ by some tenths."""
GREEDY_BOUND = 0.9
"""Minimum share of greedy tokens that are the same."""

CHATS = (
    ("What is the capital of France?",),
    ("Name three colours.",),
    ("Write a Python function that returns the sum of two numbers.",),
    ("Translate 'good morning' into Spanish.",),
    ("What is 12 + 30?",),
    ("List:\n\n1. apples\n2. pears\n\nAdd one more fruit.",),
    ("Hello", "Hello! How can I help you today?", "Tell me a short joke."),
    ("Explain in one sentence why the sky is blue.",),
    ("Rewrite politely: give me the report now.",),
    ("My name is Zoë and I live in 東京.", "Nice to meet you, Zoë!", "Where do I live?"),
)
"""Chats, with alternating turns of the user and the assistant."""


def compare_with_llama_cpp(gguf: Path, folder: Path) -> Mapping[str, Any]:
    """Return the differences of a converted model to llama.cpp's server, with its GGUF file.

    Parameters
    ----------
    gguf : Path
        GGUF file.
    folder : Path
        Folder of the converted model.

    Returns
    -------
    Mapping
        ``tokens``: number of tokens compared; ``greedy``: share of them that both models find the
        most probable; ``mean_difference`` and ``max_difference`` of log-probabilities in nats.
        Empty if llama.cpp's server (``xllamacpp``) is not installed.

    Raises
    ------
    BacktalkError
        If they differ by more than rounding.
    """
    if find_spec("xllamacpp") is None:
        return {}
    chats = [
        tuple(
            Message(role="assistant" if index % 2 else "user", content=text)
            for index, text in enumerate(turns)
        )
        for turns in CHATS
    ]
    done = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-m", "backtalk.models.fetched.llama_cpp", str(gguf), str(MAX_TOKENS)],
        check=False,
        capture_output=True,
        text=True,
        input=json.dumps([[message.to_dict() for message in chat] for chat in chats]),
    )
    if done.returncode:
        raise BacktalkError(
            f"llama.cpp's server could not answer: {done.stderr.strip()[-300:]}",
            "Install another version of xllamacpp, or remove it to leave out the comparison",
        )
    answers = json.loads(done.stdout.strip().splitlines()[-1])
    model = LocalModel(str(folder), dtype="float32")
    differences, same = [], []
    for chat, answer in zip(chats, answers, strict=True):
        prompt = model.chat.prompt_tokens(chat)
        if len(prompt) != answer["prompt_tokens"]:
            raise BacktalkError(
                f"The converted model reads the chat {chat[-1].text!r} as {len(prompt)} tokens, "
                f"llama.cpp as {answer['prompt_tokens']}",
                "Report it: the tokenizer or the chat template differs",
            )
        table = _log_probabilities(model, [*prompt, *answer["tokens"]], len(answer["tokens"]))
        mine = table[np.arange(len(table)), answer["tokens"]]
        differences += list(np.abs(mine - np.array(answer["log_probabilities"])))
        same += list(table.argmax(axis=1) == np.array(answer["tokens"]))
    result = {
        "tokens": len(differences),
        "greedy": round(float(np.mean(same)), 4),
        "mean_difference": round(float(np.mean(differences)), 4),
        "max_difference": round(float(np.max(differences)), 4),
    }
    if (
        result["mean_difference"] > MEAN_BOUND
        or result["max_difference"] > TOKEN_BOUND
        or result["greedy"] < GREEDY_BOUND
    ):
        raise BacktalkError(
            f"The converted model differs from llama.cpp by more than rounding: {result}",
            "Report it, with the versions of transformers and xllamacpp",
        )
    return result


def _log_probabilities(model: LocalModel, tokens: list[int], last: int) -> Any:
    """Return the log-probabilities that precede the last tokens, shape ``(last, vocabulary)``."""
    import torch  # noqa: PLC0415 - slow to import

    with torch.inference_mode():
        logits = model.engine.model(torch.tensor([tokens])).logits[0, -last - 1 : -1]
        return logits.log_softmax(dim=-1).numpy()
