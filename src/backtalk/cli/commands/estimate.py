"""``backtalk estimate``: what a policy would get, by the log of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from backtalk.cli.options import PROJECT, STORE, JsonOption, ProjectOption, SeedOption, StoreOption

if TYPE_CHECKING:
    from backtalk.experiments.off_policy import Estimated

_NAMES = {"ips": "inverse propensity", "snips": "self-normalised", "dr": "doubly robust"}


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("estimate")(estimate_command)


def estimate_command(
    policy: Annotated[str, typer.Argument(help="A policy, by name or id.")],
    *,
    outcome: Annotated[
        str, typer.Option(help="The feedback that counts: thumb, rating or outcome.")
    ] = "thumb",
    clip: Annotated[
        float | None, typer.Option(min=0.001, help="Cut weights to this; it is told how many.")
    ] = None,
    level: Annotated[float, typer.Option(min=0.5, max=0.9999, help="Of the intervals.")] = 0.95,
    seed: SeedOption = 0,
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Estimate what a policy would get, from feedback on the answers of others.

    It answers nobody. Its chance to give the logged answers has to be known: because it was an arm
    of an experiment, chooses among logged candidates, or has a local model that scores them.

    Examples
    --------
    - `backtalk estimate brief`
    - `backtalk estimate brief --outcome rating --clip 20`
    """
    from backtalk.cli.context import loaded, opened, run_of
    from backtalk.cli.output import say_json
    from backtalk.experiments.off_policy import estimate_policy
    from backtalk.policy import read_policy

    with opened(store, project) as db:
        chosen = read_policy(db, policy)
        with run_of(db, "estimate", chosen.id, outcome, seed=seed) as run:
            result = estimate_policy(
                db,
                chosen,
                outcome=outcome,
                load=lambda: loaded(db, chosen, run),
                clip=clip,
                level=level,
                seed=seed,
            )
    if json:
        from dataclasses import asdict

        say_json(asdict(result))
    else:
        _say(chosen.label, result)


def _say(label: str, found: Estimated) -> None:
    from backtalk.cli.output import note, percent, say, say_table

    say(f"{label}, by {found.by}, on {found.logged.n:,} judged answers:")
    say_table(
        ("estimator", "value", "worth as many", "largest weight"),
        [
            ("what was logged", percent(found.logged), f"{found.logged.n:,}", ""),
            *(
                (
                    _NAMES[one.estimator],
                    percent(one.estimate),
                    f"{one.effective_sample_size:,.0f}",
                    f"{one.largest_weight:.3g}",
                )
                for one in found.found
            ),
        ],
        numbers=(2, 3),
    )
    for warning in dict.fromkeys(text for one in found.found for text in one.warnings):
        note(f"{warning}.")
