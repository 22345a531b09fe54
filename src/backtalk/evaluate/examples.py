"""Example answers of an evaluation, from the candidate's largest gain to its largest loss."""

from __future__ import annotations

import numpy as np

from backtalk.decode import DecoderOutput
from backtalk.evaluate.evaluate import AnswerSet
from backtalk.feedback import prompt_text
from backtalk.feedback.describe import describe_answer
from backtalk.feedback.record import Record


class Example(Record):
    """Answers of candidate and baseline to one prompt, with the judge's value of each."""

    prompt: str
    candidate: str
    baseline: str
    candidate_value: float
    baseline_value: float


def select_examples(answer_set: AnswerSet, *, index: int = 1, count: int = 5) -> list[Example]:
    """Return examples evenly spaced from the candidate's largest gain to its largest loss.

    Parameters
    ----------
    answer_set : AnswerSet
        Answers of the policies, the baseline first.
    index : int, default 1
        Index of the candidate among the policies.
    count : int, default 5
        Maximum number of examples.
    """
    order = np.argsort(answer_set.values[0] - answer_set.values[index], kind="stable")
    spaced = np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)
    return [
        Example(
            prompt=prompt_text(answer_set.prompts[i]),
            candidate=_text(answer_set.answers[index][i]),
            baseline=_text(answer_set.answers[0][i]),
            candidate_value=float(answer_set.values[index][i]),
            baseline_value=float(answer_set.values[0][i]),
        )
        for i in order[spaced].tolist()
    ]


def _text(decoded: DecoderOutput) -> str:
    answer = decoded.answer
    return describe_answer(answer.text, answer.messages)
