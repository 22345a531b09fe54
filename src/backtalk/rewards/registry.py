"""The register of rewards that are known by a name: worlds and applications plug in theirs."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, TypeVar

from backtalk.errors import BacktalkError, UnknownName
from backtalk.rewards.protocol import Reward

GROUP = "backtalk.rewards"
"""The group of entry points through which installed packages name their rewards."""

Factory = Callable[..., Reward]
AnyFactory = TypeVar("AnyFactory", bound=Factory)

_registered: dict[str, Factory] = {}


def register_reward(name: str) -> Callable[[AnyFactory], AnyFactory]:
    """Register what makes a reward, so that the command line can name it as a judge.

    A package that is to be found without being imported first declares an entry point instead, in
    its ``pyproject.toml``::

        [project.entry-points."backtalk.rewards"]
        polite = "my_package.rewards:Polite"
    """

    def register(factory: AnyFactory) -> AnyFactory:
        _registered[name] = factory
        return factory

    return register


def reward_names() -> list[str]:
    """Return the names of all rewards that are registered."""
    return sorted({*_registered, *(entry.name for entry in entry_points(group=GROUP))})


def named_reward(name: str, *arguments: str) -> Reward:
    """Return the reward of that name, made with the arguments given.

    Raises
    ------
    UnknownName
        If there is none; it lists those that are known.
    BacktalkError
        If what is registered makes no reward of these arguments.
    """
    if name not in reward_names():
        raise UnknownName.among("reward named", name, reward_names())
    if name in _registered:
        factory = _registered[name]
    else:
        (entry, *_) = entry_points(group=GROUP, name=name)
        factory = entry.load()
    try:
        reward: Any = factory(*arguments)
    except TypeError as error:
        raise BacktalkError(f"No reward {name!r} can be made of {arguments}: {error}") from error
    if not isinstance(reward, Reward):
        raise BacktalkError(
            f"What is registered as {name!r} makes a {type(reward).__name__}, not a reward",
            "It needs name, bounds and score",
        )
    return reward
