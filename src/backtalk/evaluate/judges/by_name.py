"""Judges by name, for the command line and configuration files."""

from __future__ import annotations

from backtalk.errors import BacktalkError, UnknownName
from backtalk.evaluate.judges.protocol import Judge
from backtalk.feedback.base import OVERALL
from backtalk.rewards import Reward
from backtalk.rewards.recorded_feedback import RecordedReward
from backtalk.rewards.registry import get_reward, reward_names
from backtalk.rewards.rewards_by_name import HELD_OUT, find_reward
from backtalk.store import Store

RECORDED = "recorded"
"""Name of the judge that looks up recorded feedback."""
REWARD = "reward"
"""Prefix of the names of learned reward models."""
LLM = "llm"
"""Prefix of the names of language models."""
PEOPLE = "people"
"""Name of the judge that asks people in the inbox."""


def judge_names() -> list[str]:
    """Return the names of all judges, for error messages and help texts."""
    return [
        RECORDED,
        f"{REWARD}:NAME",
        f"{REWARD}:{HELD_OUT}",
        f"{LLM}:MODEL",
        PEOPLE,
        *reward_names(),
    ]


def get_judge(name: str, store: Store) -> Judge:
    """Return a judge by its name.

    Parameters
    ----------
    name : str
        ``"recorded"`` for the recorded feedback on the same answers, ``"recorded:ASPECT"`` for that
        on one aspect, such as ``"recorded:safety"``; ``"reward:NAME"`` for a learned reward, by
        its id, a beginning of it, its title or a policy that uses it, and ``"reward:held-out"``
        for the one that is fitted on the held-out feedback, see
        :func:`~backtalk.rewards.rewards_by_name.find_reward`; ``"llm:MODEL"``,
        ``"llm:MODEL@ADDRESS"`` or ``"llm:FILE.yaml"`` for a language model; ``"people"`` for
        people, who judge in the inbox, or ``"people:2"`` for two people a pair; otherwise the name
        of a registered reward, with an optional argument after a colon: ``"true-utility:safe"``.
    store : Store
        Store of the feedback and the artifacts.

    Raises
    ------
    UnknownName
        If no judge has that name; the message lists the known names.
    NotFound
        If there is no such reward; the message lists those that there are.
    MissingAddress
        If a language model is at an endpoint without an address.
    """
    kind, colon, argument = name.partition(":")
    if kind == RECORDED and bool(colon) == bool(argument):
        return RecordedReward.from_cases(store.cases(), aspect=argument or OVERALL)
    if kind == REWARD and argument:
        return find_reward(argument, store)
    if kind == LLM and colon:
        return _language_model(argument, store)
    if kind == PEOPLE and bool(colon) == bool(argument):
        return _people(argument or "1", store)
    if kind not in reward_names():
        raise UnknownName.among("judge", name, judge_names())
    return get_reward(kind, *([argument] if colon else []))


def get_scorer(name: str, store: Store) -> Reward:
    """Return a judge that scores answers, by its name; see :func:`get_judge`.

    Parameters
    ----------
    name : str
        Name of the judge.
    store : Store
        Store of the feedback and the artifacts.

    Raises
    ------
    BacktalkError
        If the judge only compares answers.
    """
    judge = get_judge(name, store)
    if isinstance(judge, Reward):
        return judge
    raise BacktalkError(
        f"The judge {name!r} compares answers and does not score them",
        "Use a judge file with `mode: pointwise`, as llm:FILE.yaml, or a reward"
        if name.startswith(f"{LLM}:")
        else "Use a reward; `backtalk reward list` lists the judges",
    )


def _people(number: str, store: Store) -> Judge:
    from backtalk.evaluate.judges.people import PeopleJudge  # noqa: PLC0415 - rarely needed

    if not (number.isascii() and number.isdigit()):
        raise BacktalkError(
            f"{number!r} is no number of people who judge a pair",
            "Write people for one person, or people:2 for two",
        )
    return PeopleJudge(store, people=int(number))


def _language_model(argument: str, store: Store) -> Judge:
    from backtalk.evaluate.judges.llm import load_llm_judge  # noqa: PLC0415 - slow to import

    folder = store.artifacts.folder_beside("runs")
    return load_llm_judge(argument, store.artifacts, cache=folder / "judges.db")
