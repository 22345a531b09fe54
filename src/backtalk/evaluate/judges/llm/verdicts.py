"""Verdicts of a language model: its replies, or the probabilities of all possible ones."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from backtalk.errors import BacktalkError
from backtalk.evaluate.judges.llm.options import JudgeOptions
from backtalk.evaluate.judges.llm.questions import AnswerFormat, reminder
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.record import content_id
from backtalk.models import Completion, Model, Request, ResponseCache, Sampling, Scorer
from backtalk.stats.validation import Floats

log = logging.getLogger(__name__)

_ALTERNATIVES = 20
"""Number of tokens whose probabilities an endpoint reports; the most that OpenAI allows."""


@dataclass
class _Pending:
    """Question that has no readable reply yet."""

    question: int
    sample: int
    messages: Prompt


async def collect_verdicts(
    model: Model,
    questions: Sequence[Prompt],
    form: AnswerFormat,
    options: JudgeOptions,
    *,
    cache: ResponseCache | None = None,
) -> Floats:
    """Return the mean outcome of each question, shape ``(n, d)``, NaN if no reply can be read.

    Parameters
    ----------
    model : Model
        Model that judges.
    questions : sequence of Prompt
        Questions, n of them.
    form : AnswerFormat
        Possible verdicts.
    options : JudgeOptions
        Number of replies, temperature, and whether probabilities are read.
    cache : ResponseCache, optional
        Cache of probabilities that a local model computes; replies have that of the model.

    Raises
    ------
    BacktalkError
        If probabilities are required, and the model reports none.
    ModelError
        If the model fails.
    """
    if not questions:
        return np.empty((0, form.outcomes.shape[1]))
    if isinstance(model, Scorer) and options.samples == 1 and _by_probability(options):
        probabilities = await _label_probabilities(model, model.identity, questions, form, cache)
        return np.asarray(probabilities @ form.outcomes)
    return await _read_replies(model, questions, form, options)


def _by_probability(options: JudgeOptions) -> bool:
    return not options.reasoning if options.probabilities is None else options.probabilities


async def _label_probabilities(
    scorer: Scorer,
    identity: str,
    questions: Sequence[Prompt],
    form: AnswerFormat,
    cache: ResponseCache | None,
) -> Floats:
    """Return the probability of each label among all labels, shape ``(n, labels)``."""
    keys = [
        content_id("labels", identity, Request(messages=question).key, *form.labels)
        for question in questions
    ]
    stored = {} if cache is None else cache.get(keys)
    missing = [(k, q) for k, q in zip(keys, questions, strict=True) if k not in stored]
    texts = [(question, label) for _, question in missing for label in form.labels]
    scores = await scorer.score(texts) if texts else []
    totals = np.array([score.sum() for score in scores]).reshape(len(missing), len(form.labels))
    rows = {key: json.loads(completion.text) for key, completion in stored.items()}
    new = {key: row.tolist() for (key, _), row in zip(missing, softmax(totals, 1), strict=True)}
    if cache is not None and new:
        cache.put({key: Completion(text=json.dumps(row)) for key, row in new.items()})
    return np.array([(rows | new)[key] for key in keys])


async def _read_replies(
    model: Model, questions: Sequence[Prompt], form: AnswerFormat, options: JudgeOptions
) -> Floats:
    outcomes = np.full((len(questions), options.samples, form.outcomes.shape[1]), np.nan)
    pending = [
        _Pending(number, sample, question)
        for number, question in enumerate(questions)
        for sample in range(options.samples)
    ]
    unreadable: Completion | None = None
    for _ in range(options.attempts):
        replies = await model.generate([_request(item, options) for item in pending])
        remaining = []
        for item, reply in zip(pending, replies, strict=True):
            outcome = _outcome(reply, form, options, model)
            if outcome is not None:
                outcomes[item.question, item.sample] = outcome
                continue
            unreadable = reply
            item.messages = reminder(questions[item.question], reply.text.strip() or "-", form)
            remaining.append(item)
        pending = remaining
        if not pending:
            break
    if pending and unreadable is not None:
        _warn(len(pending), len(questions) * options.samples, unreadable, model)
    return _mean_of_readable(outcomes)


def _request(item: _Pending, options: JudgeOptions) -> Request:
    """Return the request for a reply.

    Its seed does not depend on the run, so that a question that was answered once is answered by
    the cache in every later run.
    """
    return Request(
        messages=item.messages,
        sampling=Sampling(temperature=options.temperature, max_tokens=options.max_tokens),
        sample_index=item.sample,
        options={"top_logprobs": _ALTERNATIVES} if options.probabilities else {},
    )


def _outcome(
    reply: Completion, form: AnswerFormat, options: JudgeOptions, model: Model
) -> Floats | None:
    if not options.probabilities:
        return form.read(reply)
    if reply.tokens is None:
        raise BacktalkError(
            f"{model.name!r} reports no probabilities of tokens",
            "Leave `probabilities` out of the judge, and set `samples: 5` or so instead",
        )
    for token in reply.tokens:
        if token.text.strip() in form.labels:
            return _expected(token.alternatives, form)
    return None


def _expected(alternatives: dict[str, float], form: AnswerFormat) -> Floats:
    """Return the mean outcome of the labels among the most likely tokens, by probability."""
    weights = np.zeros(len(form.labels))
    for text, log_probability in alternatives.items():
        if text.strip() in form.labels:
            weights[form.labels.index(text.strip())] += np.exp(log_probability)
    return np.asarray(weights @ form.outcomes / weights.sum())


def _mean_of_readable(outcomes: Floats) -> Floats:
    """Return the mean over samples, shape ``(n, d)``, NaN where no sample was read."""
    readable = np.asarray(~np.isnan(outcomes).any(2))
    counts = readable.sum(1)
    totals = np.where(readable[:, :, None], outcomes, 0.0).sum(1)
    return np.where(counts[:, None] > 0, totals / np.maximum(counts, 1)[:, None], np.nan)


def _warn(unreadable: int, total: int, reply: Completion, model: Model) -> None:
    text = " ".join(reply.text.split())
    shown = text if len(text) <= 60 else text[:57] + "..."
    cut = reply.finish_reason == "length"
    log.warning(
        "%d of %d replies of the judge %s have no readable verdict, such as %r%s",
        unreadable,
        total,
        model.name,
        shown,
        ", which was cut off: raise max_tokens of the judge" if cut else "",
    )
