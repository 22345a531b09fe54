"""Answers to look at: where a candidate gained most, where it lost most, and what lies between."""

from __future__ import annotations

import numpy as np

from backtalk.evaluate.evaluate import AnswerSet
from backtalk.feedback import prompt_text
from backtalk.feedback.record import Record


class Example(Record):
    """Two answers to one prompt, with the judge's value of each."""

    prompt: str
    candidate: str
    baseline: str
    candidate_value: float
    baseline_value: float


def select_examples(trial: AnswerSet, *, place: int = 1, count: int = 5) -> list[Example]:
    """Return examples that span a trial, from the greatest gain to the greatest loss.

    Parameters
    ----------
    trial : AnswerSet
        The answers; the baseline's stand first.
    place : int, default 1
        Which of the policies the candidate is.
    count : int, default 5
        How many examples; they are evenly spaced in the order of their differences.
    """
    order = np.argsort(trial.values[0] - trial.values[place], kind="stable")
    spaced = np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)
    return [
        Example(
            prompt=prompt_text(trial.prompts[i]),
            candidate=trial.answers[place][i].answer.text,
            baseline=trial.answers[0][i].answer.text,
            candidate_value=float(trial.values[place][i]),
            baseline_value=float(trial.values[0][i]),
        )
        for i in order[spaced].tolist()
    ]
