"""Client of the loopback endpoint with the standard library alone, for every environment."""

from __future__ import annotations

import json
import os
import random
import urllib.request
from concurrent.futures import ThreadPoolExecutor

ADDRESS = os.environ["ENDPOINT"]
BUDGET = int(os.environ["BUDGET"])
"""Number of completions of the task's model."""
SEED = int(os.environ["SEED"])
VALIDATION = 24
"""Number of validation examples of each optimiser that has a validation set."""
RNG = random.Random(SEED)


def call(path, body=None):
    """Return the JSON reply to a request."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(ADDRESS + path, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as reply:
        return json.load(reply)


def complete(messages, *, model="task", temperature=1.0):
    """Return the text of a chat completion.

    Parameters
    ----------
    messages : list of dict
        Chat messages.
    model : {"task", "writer"}, default "task"
        Model of the endpoint.
    temperature : float, default 1.0
        Temperature of sampling.
    """
    reply = call(
        "/v1/chat/completions",
        {"model": model, "messages": messages, "temperature": temperature},
    )
    return reply["choices"][0]["message"]["content"]


def answer(system, request, demonstrations=()):
    """Return the task model's answer under a system prompt.

    Parameters
    ----------
    system : str
        System prompt.
    request : str
        Request of the user.
    demonstrations : sequence of dict, default ()
        Requests and answers that come before.
    """
    messages = [{"role": "system", "content": system}] if system else []
    for demonstration in demonstrations:
        messages.append({"role": "user", "content": demonstration["request"]})
        messages.append({"role": "assistant", "content": demonstration["answer"]})
    return complete([*messages, {"role": "user", "content": request}])


def score(request, text):
    """Return the score of an answer, and a critique."""
    reply = call("/score", {"request": request, "answer": text})
    return reply["score"], reply["critique"]


def answer_all(system, examples):
    """Return answers, scores and critiques of examples."""

    def run(example):
        text = answer(system, example["request"])
        return (text, *score(example["request"], text))

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(run, examples))


def write(text):
    """Return the writer's reply."""
    return complete([{"role": "user", "content": text}], model="writer")


def rewrite(system, rule):
    """Return a system prompt with a rule added to its lines, or in their place."""
    lines = [item for item in system.split("\n") if item and item != rule]
    if not rule:
        return system
    return "\n".join([*(lines if RNG.random() < 0.5 else []), rule])


def shown(example, text, critique):
    """Return an example as reflection prompts show it: answer, critique and ideal answer.

    Parameters
    ----------
    example : dict
        Request and ideal answer.
    text : str
        Answer of the task's model.
    critique : str
        Critique of the answer.
    """
    return (
        f"Request:\n{example['request']}\n\nAnswer:\n{text}\n\nFeedback:\n{critique}\n"
        f"A good answer:\n{example['ideal']}"
    )


def report(system, demonstrations=()):
    """Report the best prompt so far; the last report is the result."""
    call("/best", {"system": system, "demonstrations": list(demonstrations)})
