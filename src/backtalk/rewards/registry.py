"""Registry of rewards that the command line refers to by name, as judges."""

from __future__ import annotations

from collections.abc import Callable

from backtalk.registry import Factory, FactoryRegistry
from backtalk.rewards.protocol import Reward

REWARDS: FactoryRegistry[Reward] = FactoryRegistry(
    "reward",
    product_type=Reward,
    needs="name, bounds and score",
    entry_points="backtalk.rewards",
)
"""Factories of rewards by name: those of this process and those of installed packages."""


def register_reward(name: str) -> Callable[[Factory], Factory]:
    """Register a function or class that makes a reward, for use as a judge by name.

    An installed package declares an entry point instead, in its ``pyproject.toml``, so that it need
    not be imported first::

        [project.entry-points."backtalk.rewards"]
        polite = "my_package.rewards:Polite"

    Raises
    ------
    Conflict
        If another reward has the name.
    """
    return REWARDS.decorator(name)


def reward_names() -> list[str]:
    """Return the names of all registered rewards, sorted."""
    return sorted(REWARDS)


def get_reward(name: str, *arguments: str) -> Reward:
    """Return the reward of that name, made with these arguments.

    Raises
    ------
    UnknownName
        If there is no such reward; the message lists the known ones.
    BacktalkError
        If the arguments do not fit.
    """
    return REWARDS.make(name, *arguments)
