"""Hosts that receive prompts: said before anything is sent, and agreed on if nobody named one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, TypeVar

from backtalk.cli.output import note, notes

if TYPE_CHECKING:
    from backtalk.models import EndpointSpec, MissingAddress
    from backtalk.policy import Policy

T = TypeVar("T")


@contextmanager
def sending(
    policies: Sequence[Policy],
    *,
    send_to: str | None,
    prompts: int | None = None,
    judges: Sequence[str] = (),
) -> Iterator[None]:
    """Say which hosts receive prompts while the block runs.

    If an endpoint has no address, neither in its policy nor in ``OPENAI_BASE_URL`` nor by
    ``--send-to``, a terminal shows the question whether to send the prompts to OpenAI.

    Parameters
    ----------
    policies : sequence of Policy
        Policies that answer.
    send_to : str or None
        Address for endpoints without one: the option ``--send-to``.
    prompts : int, optional
        Number of prompts, for the question.
    judges : sequence of str, default ()
        Names of the judges.

    Raises
    ------
    MissingAddress
        If an endpoint has no address, and the user does not agree on one or cannot be asked.
    """
    from backtalk.models.endpoint.address import (
        default_address,
        find_default_address,
        missing_address,
    )

    with default_address(send_to) if send_to else nullcontext():
        models = _endpoints(policies, judges)
        unnamed = [model for model in models if model.base_url is None]
        agreed = None
        if unnamed and find_default_address() is None:
            agreed = _ask(missing_address(unnamed[0].model), prompts)
        with default_address(agreed) if agreed else nullcontext():
            _announce(models, prompts)
            yield


def with_address(work: Callable[[], T], *, send_to: str | None) -> T:
    """Do work that may need an endpoint, and ask for an address only if it does.

    Parameters
    ----------
    work : Callable[[], T]
        Work, which loads its models before it sends anything; it is done again after an answer.
    send_to : str or None
        Address for endpoints without one: the option ``--send-to``.

    Raises
    ------
    MissingAddress
        If an endpoint has no address, and the user does not agree on one or cannot be asked.
    """
    from backtalk.models import MissingAddress
    from backtalk.models.endpoint.address import default_address

    with default_address(send_to) if send_to else nullcontext():
        try:
            return work()
        except MissingAddress as missing:
            address = _ask(missing, None)
    with default_address(address):
        return work()


def _endpoints(policies: Sequence[Policy], judges: Sequence[str]) -> list[EndpointSpec]:
    from backtalk.models import EndpointSpec

    models = [policy.model for policy in policies if isinstance(policy.model, EndpointSpec)]
    languages = [name.removeprefix("llm:") for name in judges if name.startswith("llm:")]
    if languages:
        from backtalk.evaluate.judges.llm.spec import parse_judge

        specs = [parse_judge(name).model for name in languages]
        models += [spec for spec in specs if isinstance(spec, EndpointSpec)]
    return models


def _ask(missing: MissingAddress, prompts: int | None) -> str:
    """Return OpenAI's address if the user agrees to it; else raise the error."""
    from backtalk.models.endpoint.address import OPENAI

    if _is_terminal():
        note(f"{missing.what}.")
        question = f"Send {_count(prompts)} to {OPENAI}? [y/N]"
        notes.print(question, end=" ", markup=False)
        if sys.stdin.readline().strip().lower() in {"y", "yes"}:
            return OPENAI
    raise missing


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _announce(models: Sequence[EndpointSpec], prompts: int | None) -> None:
    from backtalk.models.endpoint.address import VARIABLE, find_default_address, host_of

    default = find_default_address()
    sources: dict[str, str] = {}
    for model in models:
        if model.base_url is not None:
            sources.setdefault(host_of(model.base_url), "")
        elif default is not None:
            address, source = default
            sources[host_of(address)] = f" ({VARIABLE})" if source == VARIABLE else ""
    for host, source in sources.items() if prompts != 0 else ():
        note(f"Sending {_count(prompts)} to {host}{source}.")


def _count(prompts: int | None) -> str:
    if prompts is None:
        return "prompts"
    return f"{prompts:,} prompt{'' if prompts == 1 else 's'}"
