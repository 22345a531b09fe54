"""What commands work on: the store, policies by name, runs, prompts."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from backtalk.cli.output import progress_bars
from backtalk.errors import BacktalkError, NotFound
from backtalk.feedback import Message, as_prompt, content_id
from backtalk.feedback.merge import prompt_key
from backtalk.feedback.record import explain
from backtalk.models import Budget, load_prices
from backtalk.policy import LoadedPolicy, Policy, load_policy
from backtalk.promotion import active_policy
from backtalk.run import Run
from backtalk.store import Store
from backtalk.store.engine import database_url

Prompt = tuple[Message, ...]


@contextmanager
def opened(location: str, project: str, *, make: bool = False) -> Iterator[Store]:
    """Open a store for a command; a SQLite file is made only where ``make`` says so.

    Raises
    ------
    NotFound
        If there is no such file.
    """
    url = database_url(location)
    file = url.database if url.get_backend_name() == "sqlite" else None
    if not make and file and file != ":memory:" and not Path(file).exists():
        raise NotFound(
            f"There is no store {file}",
            "`backtalk import FILE --store STORE` makes one; --store or BACKTALK_STORE says where",
        )
    with Store(location, project=project) as store:
        yield store


def user_name() -> str:
    """Return who is at the keyboard, for the record."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def assignments(given: list[str] | None) -> dict[str, str]:
    """Return ``NAME=VALUE`` as a mapping; raise ``BacktalkError`` for what is not such."""
    results = {}
    for item in given or []:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise BacktalkError(f"{item!r} is not an option", "Write it as NAME=VALUE")
        results[name.strip()] = value.strip()
    return results


def budget_of(**limits: Any) -> Budget | None:
    """Return a budget of the limits that were given, if any was."""
    given = {name: value for name, value in limits.items() if value is not None}
    return Budget(**given) if given else None


@contextmanager
def run_of(
    store: Store,
    *about: str,
    seed: int,
    budget: Budget | None = None,
    prices: Path | None = None,
) -> Iterator[Run]:
    """Open the run of a piece of work, with progress bars.

    What it pays for is kept beside the store, so that the same command, called again after its
    budget was spent, goes on where it ended.

    Parameters
    ----------
    store : Store
        Where it works.
    about
        What tells this piece of work from others.
    seed, budget, prices
        As for :class:`~backtalk.run.Run`.
    """
    root = store.artifacts.root.with_suffix(".runs")
    folder = root / content_id(store.project, *about, str(seed))
    priced = None if prices is None else load_prices(prices)
    with (
        progress_bars() as progress,
        Run(folder, seed=seed, budget=budget, prices=priced, progress=progress) as run,
    ):
        yield run


def loaded(store: Store, policy: Policy, run: Run) -> LoadedPolicy:
    """Return a policy that answers within the run's budget."""
    return load_policy(policy, store.artifacts, wrap=run.wrap)


def served_or_error(store: Store) -> Policy:
    """Return the policy that is served, or say how to get one."""
    served = active_policy(store)
    if served is None:
        raise NotFound(
            f"Project {store.project!r} serves no policy yet",
            "Name one; `backtalk policy add FILE` adds one, `backtalk promote NAME` serves it",
        )
    return served


def prompts_of(
    store: Store, *, split: str, file: Path | None, limit: int | None, seed: int
) -> list[Prompt]:
    """Return the distinct prompts to evaluate on, in a fixed order.

    Parameters
    ----------
    store : Store
        Whose prompts, where there is no file.
    split : str
        Which of the prompts.
    file : Path or None
        Prompts of the user's own.
    limit : int or None
        At most so many, drawn by the seed.
    seed : int
        Of the draw.

    Raises
    ------
    BacktalkError
        If a line of the file holds no prompt.
    """
    import numpy as np

    from backtalk.learn import in_split

    source = (
        _read_prompts(file)
        if file is not None
        else (case.interaction.prompt for case in store.cases())
    )
    distinct: dict[str, Prompt] = {}
    for prompt in source:
        if in_split(prompt, split):  # type: ignore[arg-type]
            distinct.setdefault(prompt_key(prompt), prompt)
    results = list(distinct.values())
    if limit is None or limit >= len(results):
        return results
    drawn = np.random.default_rng(seed).choice(len(results), limit, replace=False)
    return [results[i] for i in sorted(drawn.tolist())]


def _read_prompts(file: Path) -> Iterator[Prompt]:
    from pydantic import TypeAdapter, ValidationError
    from pydantic_core import from_json

    messages = TypeAdapter(tuple[Message, ...])
    if not file.is_file():
        raise NotFound(f"There is no file {file}", "Give JSON lines with a field `prompt`")
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                prompt = from_json(line)["prompt"]
                if not isinstance(prompt, str):
                    prompt = messages.validate_python(prompt)
            except (ValueError, KeyError, TypeError) as error:
                why = explain(error) if isinstance(error, ValidationError) else str(error)
                raise BacktalkError(
                    f"{file}, line {number} holds no prompt: {why}",
                    'Write {"prompt": "..."}, or a list of messages in its place',
                ) from None
            yield as_prompt(prompt)
