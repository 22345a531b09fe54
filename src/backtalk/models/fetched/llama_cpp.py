"""Greedy answers of llama.cpp's server to chats, as JSON on standard output.

It is run in a process of its own, as the server writes to standard error and keeps its memory:
``python -m backtalk.models.fetched.llama_cpp FILE.gguf``, with the chats on standard input.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import Any

_CONTEXT = 2_048


def answer(gguf: str, chats: list[list[dict[str, str]]], max_tokens: int) -> list[dict[str, Any]]:
    """Return the tokens of each greedy answer with their log-probabilities, in nats.

    Parameters
    ----------
    gguf : str
        GGUF file.
    chats : list of list of dict
        Messages with ``role`` and ``content``.
    max_tokens : int
        Maximum number of tokens of an answer.

    Returns
    -------
    list of dict
        For each chat: ``prompt_tokens``, their number; ``tokens``; ``log_probabilities``.
    """
    xllamacpp: Any = import_module("xllamacpp")
    parameters = xllamacpp.CommonParams()
    parameters.model.path = gguf
    parameters.n_ctx, parameters.n_parallel = _CONTEXT, 1
    parameters.warmup, parameters.use_jinja, parameters.verbosity = False, True, 0
    server = xllamacpp.Server(parameters)
    results = []
    for chat in chats:
        body = server.handle_chat_completions(
            {
                "messages": chat,
                "temperature": 0,
                "max_tokens": max_tokens,
                "logprobs": True,
                "top_logprobs": 1,
                "cache_prompt": False,
            }
        )
        body = json.loads(body) if isinstance(body, str) else body
        entries = body["choices"][0]["logprobs"]["content"]
        results.append(
            {
                "prompt_tokens": body["usage"]["prompt_tokens"],
                "tokens": [entry["id"] for entry in entries],
                "log_probabilities": [entry["logprob"] for entry in entries],
            }
        )
    return results


if __name__ == "__main__":
    sys.stdout.write(json.dumps(answer(sys.argv[1], json.load(sys.stdin), int(sys.argv[2]))) + "\n")
