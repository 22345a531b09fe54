"""Trace: OptoPrime on a trainable system prompt, with validation of each step."""

import json
import random
from types import SimpleNamespace

from client import BUDGET, SEED, answer_all, call, report, rewrite, shown, write
from opto import trace
from opto.optimizers import OptoPrime

BATCH = 4
VALIDATION = 12


class _Writer:
    """Writer of the endpoint; it replies in the JSON that OptoPrime reads."""

    def __call__(self, messages=None, **_):
        """Return a suggestion for the system prompt."""
        text = "\n".join(message["content"] for message in messages)
        suggestion = {system.py_name: rewrite(system.data, write(text))}
        reply = json.dumps({"reasoning": "", "answer": "", "suggestion": suggestion})
        message = SimpleNamespace(message=SimpleNamespace(content=reply))
        return SimpleNamespace(choices=[message])


task = call("/task")
system = trace.node(task["seed_prompt"], name="system_prompt", trainable=True)
optimizer = OptoPrime([system], llm=_Writer())
rng = random.Random(SEED)
validation = task["validation"][:VALIDATION]


@trace.bundle()
def respond(system_prompt, request):
    """Answer a request under a system prompt."""
    return request


def mean_score(text):
    """Return the mean score on the validation set."""
    return sum(value for _, value, _ in answer_all(text, validation)) / VALIDATION


best, best_score, spent = system.data, mean_score(system.data), VALIDATION
while spent + BATCH + VALIDATION <= BUDGET:
    batch = rng.sample(task["train"], BATCH)
    results = answer_all(system.data, batch)
    output = respond(system, "\n".join(example["request"] for example in batch))
    feedback = "\n\n".join(
        shown(example, text, critique) for example, (text, _, critique) in zip(batch, results)
    )
    optimizer.zero_feedback()
    optimizer.backward(output, feedback)
    optimizer.step()
    value = mean_score(system.data)
    spent += BATCH + VALIDATION
    if value > best_score:
        best, best_score = system.data, value
        report(best)
    else:
        system._set(best)
report(best)
