"""Helpers of commands: opening the store, reading policies and prompts, making runs."""

from __future__ import annotations

import getpass
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from backtalk.cli.library_warnings import log_library_warnings
from backtalk.cli.options import PROJECT, STORE
from backtalk.cli.output import progress_bars
from backtalk.errors import BacktalkError, NotFound
from backtalk.store import Store
from backtalk.store.engine import database_url

if TYPE_CHECKING:
    from backtalk.feedback.interaction import Prompt
    from backtalk.learn.training_set import Split
    from backtalk.models import Budget
    from backtalk.policy import LoadedPolicy, Policy
    from backtalk.run import Run


WITHOUT_STORE = ("demo", "judge list", "schema")
"""Commands that work on no store."""


@contextmanager
def opened(location: str, project: str, *, create: bool = False) -> Iterator[Store]:
    """Open a store for a command. Commands in the mends of its errors name this store.

    Parameters
    ----------
    location : str
        SQLite file or database URL.
    project : str
        Project to work in.
    create : bool, default False
        If true, create a SQLite file that does not exist.

    Raises
    ------
    NotFound
        If the file does not exist and is not to be created.
    """
    url = database_url(location)
    file = url.database if url.get_backend_name() == "sqlite" else None
    if not create and file and file != ":memory:" and not Path(file).exists():
        raise NotFound(
            f"There is no store {file}",
            f"Create one with `backtalk import FILE{store_options(location, project)}`, or name "
            "another with --store or BACKTALK_STORE",
        )
    with (
        Store(location, project=project) as store,
        log_library_warnings(store.artifacts.folder_beside("runs")),
    ):
        try:
            yield store
        except BacktalkError as error:
            error.mend = with_options(error.mend, store_options(location, project))
            raise


def store_options(location: str, project: str) -> str:
    """Return the options by which a further command finds a store and a project.

    They are empty for the default store and project, and for those of the environment.

    Parameters
    ----------
    location : str
        SQLite file or database URL.
    project : str
        Project in the store.
    """
    chosen = {
        "--store": (location, os.environ.get("BACKTALK_STORE") or STORE),
        "--project": (project, os.environ.get("BACKTALK_PROJECT") or PROJECT),
    }
    return "".join(
        f" {option} {shlex.quote(value)}"
        for option, (value, default) in chosen.items()
        if value != default
    )


def with_options(text: str, options: str) -> str:
    """Return a text with options added to each ``backtalk`` command in backticks.

    >>> with_options("Next: `backtalk promote chooser`", " --store mail.db")
    'Next: `backtalk promote chooser --store mail.db`'
    """

    def add(match: re.Match[str]) -> str:
        command = match[1]
        if "--store" in command or command.startswith(WITHOUT_STORE):
            return match[0]
        return f"`backtalk {command}{options}`"

    return re.sub(r"`backtalk ([^`]+)`", add, text)


def note_next_steps(store: Store, location: str, project: str) -> None:
    """Print what to do next in a project to standard error.

    Parameters
    ----------
    store : Store
        Store of the project.
    location : str
        Its SQLite file or database URL, for the commands.
    project : str
        Name of the project.
    """
    from backtalk.cli.output import note
    from backtalk.learn.next_steps import next_steps

    for sentence in next_steps(store):
        note(with_options(sentence, store_options(location, project)) + ".")


def user_name() -> str:
    """Return the name of the operating system's user, ``"unknown"`` if there is none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def is_set(context: typer.Context, option: str) -> bool:
    """Return true if the user set an option on the command line.

    Parameters
    ----------
    context : typer.Context
        Context of the command.
    option : str
        Name of the option's parameter, such as ``"max_money"``.
    """
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


def refuse_options(context: typer.Context, *options: str, because: str, mend: str = "") -> None:
    """Refuse options that would have no effect.

    Parameters
    ----------
    context : typer.Context
        Context of the command.
    *options : str
        Names of the options' parameters.
    because : str
        Reason, as a clause: ``"an archive holds all feedback"``.
    mend : str, optional
        Mend; by default to leave the option out.

    Raises
    ------
    BacktalkError
        If the user set one of them.
    """
    parameters = {item.name: item for item in context.command.params}
    for option in options:
        if is_set(context, option):
            flag = parameters[option].opts[0]
            raise BacktalkError(f"{flag} has no effect: {because}", mend or f"Leave {flag} out")


def read_assignments(pairs: list[str] | None) -> dict[str, str]:
    """Return ``NAME=VALUE`` items as a mapping.

    Raises
    ------
    BacktalkError
        If an item has no ``=`` or no name, or a name is given twice.
    """
    values: dict[str, str] = {}
    for item in pairs or []:
        name, equals, value = item.partition("=")
        name = name.strip()
        if not equals or not name:
            raise BacktalkError(f"{item!r} is not an option", "Write it as NAME=VALUE")
        if name in values:
            raise BacktalkError(f"The option {name!r} is given twice", "Give it once")
        values[name] = value.strip()
    return values


def make_budget(
    *,
    calls: int | None,
    tokens: int | None,
    money: float | None,
    seconds: float | None,
    prices: Path | None,
    prices_alone: bool = False,
) -> Budget | None:
    """Return the budget of the limits that are set, ``None`` if none is.

    Parameters
    ----------
    calls, tokens : int, optional
        Maximum number of model calls and of tokens.
    money : float, optional
        Maximum cost, in the currency of the prices.
    seconds : float, optional
        Maximum time of generation.
    prices : Path, optional
        File of prices.
    prices_alone : bool, default False
        If true, prices have an effect without a maximum cost.

    Raises
    ------
    BacktalkError
        If a maximum cost is set without prices, or prices without a maximum cost.
    """
    from backtalk.models import Budget

    if money is not None and prices is None:
        raise BacktalkError("--max-money needs the models' prices", "Give a file with --prices")
    if prices is not None and money is None and not prices_alone:
        raise BacktalkError("--prices has no effect without --max-money", "Set --max-money too")
    limits: dict[str, Any] = {
        "calls": calls,
        "tokens": tokens,
        "money": money,
        "seconds": seconds,
    }
    limits = {name: value for name, value in limits.items() if value is not None}
    return Budget(**limits) if limits else None


@contextmanager
def open_run(
    store: Store,
    *identity: str,
    seed: int,
    budget: Budget | None = None,
    prices: Path | None = None,
) -> Iterator[Run]:
    """Open the run of a command, with progress bars.

    Its cache is kept beside the store, so that the same command resumes after its budget was
    exceeded.

    Parameters
    ----------
    store : Store
        Store that the command works on.
    *identity : str
        Texts that tell this piece of work from others.
    seed : int
        Random seed.
    budget : Budget, optional
        Limits of the run.
    prices : Path, optional
        File of prices.
    """
    from backtalk.feedback import content_id
    from backtalk.models import load_prices
    from backtalk.run import Run

    root = store.artifacts.folder_beside("runs")
    folder = root / content_id(store.project, *identity, str(seed))
    priced = None if prices is None else load_prices(prices)
    with (
        progress_bars() as progress,
        Run(folder, seed=seed, budget=budget, prices=priced, progress=progress) as run,
    ):
        yield run


def load(store: Store, policy: Policy, run: Run) -> LoadedPolicy:
    """Return a policy that generates within the run's budget.

    Parameters
    ----------
    store : Store
        Store that holds the policy's artifacts.
    policy : Policy
        Policy to load.
    run : Run
        Run that caches and limits its calls.
    """
    from backtalk.policy import load_policy

    return load_policy(policy, store.artifacts, store=store, wrap=run.wrap)


def read_prompts(
    store: Store, *, split: Split, file: Path | None, limit: int | None, seed: int
) -> list[Prompt]:
    """Return distinct prompts to evaluate on, in a fixed order.

    Parameters
    ----------
    store : Store
        Source of prompts if no file is given.
    split : {"train", "held-out", "all"}
        Split of the prompts.
    file : Path or None
        JSON Lines file of prompts.
    limit : int or None
        Maximum number of prompts, sampled with the seed.
    seed : int
        Random seed of the sample.

    Raises
    ------
    BacktalkError
        If a line of the file holds no prompt.
    """
    from backtalk.api import select_prompts
    from backtalk.feedback.requests import requested_prompt

    source = (
        prompts_in(file)
        if file is not None
        else (requested_prompt(case.interaction) for case in store.cases())
    )
    return select_prompts(source, split=split, limit=limit, seed=seed)


def prompts_in(file: Path) -> Iterator[Prompt]:
    """Yield the prompts of a JSON Lines file.

    Raises
    ------
    NotFound
        If there is no such file.
    BacktalkError
        If a line holds no prompt.
    """
    from pydantic import TypeAdapter, ValidationError
    from pydantic_core import from_json

    from backtalk.feedback import Message, as_prompt
    from backtalk.feedback.record import explain

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
