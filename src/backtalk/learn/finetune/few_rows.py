"""Checks before training on a few rows first, then counts of all rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from backtalk.errors import BacktalkError
from backtalk.learn.context import MethodContext, ModelNeeded
from backtalk.learn.finetune.preflight import (
    TREES_PER_TASK,
    Check,
    Preflight,
    Report,
    count_tokens,
    ignore_report,
)
from backtalk.learn.finetune.registration import build_plan
from backtalk.learn.finetune.train import (
    TrainingSetup,
    encode,
    load_model,
    prepare,
)
from backtalk.learn.finetune.trainable_model import TrainableModel
from backtalk.learn.method import get_method
from backtalk.models import BudgetExceeded
from backtalk.models.errors import TemplateError

ROW_COUNTS = (TREES_PER_TASK, 8 * TREES_PER_TASK)
"""Numbers of prompts of each kind that are tried before all of them."""

MAX_LISTED = 5
"""Number of left-out rows that a report lists."""


async def check(
    name: str, context: MethodContext, values: Mapping[str, Any], report: Report = ignore_report
) -> Preflight:
    """Run the checks of a method on a few rows and, if they pass, count the tokens of all rows.

    Parameters
    ----------
    name : str
        Name of a method that trains weights.
    context : MethodContext
        Policy, feedback and run.
    values : Mapping[str, Any]
        All options of the method.
    report : Report, optional
        Function called with each result as soon as it is known.

    Raises
    ------
    BacktalkError
        If the policy has no trainable weights, or the feedback holds nothing to learn from.
    """
    setup = await _prepare_few(name, context, values, report)
    if setup.reference is not None:
        setup.reference.close()
    if not setup.preflight.passed:
        return setup.preflight
    counts = await _count_all(name, setup, replace(context, may_call_models=False), values)
    for count in counts:
        report(count)
    return replace(setup.preflight, checks=(*setup.preflight.checks, *counts))


async def _prepare_few(
    name: str, context: MethodContext, values: Mapping[str, Any], report: Report
) -> TrainingSetup:
    """Return the setup of a few rows, or of more if the method cannot learn from so few."""
    needs = get_method(name).needs
    sets = (
        *(context.feedback.first(count, needs=needs) for count in ROW_COUNTS),
        context.feedback,
    )
    model: TrainableModel | None = None
    for feedback in sets:
        is_last = feedback is context.feedback
        try:
            tasks, config = await build_plan(name, replace(context, feedback=feedback), values)
            if model is None:
                model = load_model(context.policy, feedback, context.run, config)
            return prepare(
                context.policy, feedback, context.run, tasks, config, model=model, report=report
            )
        except (BudgetExceeded, TemplateError):
            raise
        except BacktalkError:
            if is_last:
                raise
    raise AssertionError("the last set returns or raises")


async def _count_all(
    name: str, setup: TrainingSetup, context: MethodContext, values: Mapping[str, Any]
) -> list[Check]:
    """Return the checks that count the tokens of all rows."""
    try:
        with context.run.task("reading feedback"):
            tasks, config = await build_plan(name, context, values)
    except ModelNeeded:
        return [Check("all rows", True, "not counted: the method calls a model before it trains")]
    feedback = context.feedback
    encoder, encoded = encode(
        tasks, setup.model, config, policy=context.policy, feedback=feedback, run=context.run
    )
    checks = [*count_tokens(setup.model, encoded, rows="all rows")]
    if left_out := encoder.left_out + feedback.left_out:
        words = ", ".join(f"{count:,} {reason}" for reason, count in left_out.items())
        rows = encoder.refused.find_records(feedback.every_case())
        listed = "".join(f"; {row}" for row in rows[:MAX_LISTED])
        checks.append(Check("rows left out", True, words + listed))
    return checks
