"""Learned rewards by name: by an id, its beginning, a title, or a policy that uses the reward."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Literal

from backtalk.artifacts import Artifacts
from backtalk.errors import Conflict, NotFound
from backtalk.feedback.record import short_ids
from backtalk.registry import Registry
from backtalk.rewards.artifact import REWARD_FILE
from backtalk.rewards.io import load_reward, reward_ids, reward_info
from backtalk.rewards.judge_info import JudgeInfo
from backtalk.rewards.protocol import Reward
from backtalk.store import Store

HELD_OUT: Literal["held-out"] = "held-out"
"""Name of the reward that is fitted on the feedback on held-out prompts."""

REWARD_MAKERS: Registry[Callable[[Store, str], Reward]] = Registry(
    "learned reward", modules=("backtalk.learn.stored_reward",)
)
"""Functions of a store and an aspect that make the reward of a reserved name, such as
``"held-out"``."""


def find_reward(name: str, store: Store) -> Reward:
    """Return a learned reward.

    Parameters
    ----------
    name : str
        Id of its artifact or a unique beginning of it, its title, the name of a policy whose
        decoder uses it, or ``"held-out"`` for the reward that is fitted on the feedback on
        held-out prompts, with an optional aspect as in ``"held-out:safety"``. The latest reward
        with the title, and the latest policy of the name count.
    store : Store
        Store of the rewards.

    Raises
    ------
    NotFound
        If there is none; the message lists the rewards that there are.
    Conflict
        If several ids begin with the name.
    """
    reserved, _, aspect = name.partition(":")
    if reserved == HELD_OUT:
        return REWARD_MAKERS.get(HELD_OUT)(store, aspect)
    return load_reward(_find_id(name, store), store.artifacts)


def _find_id(name: str, store: Store) -> str:
    ids = reward_ids(store.artifacts)
    if name in ids:
        return name
    if titled := find_title(name, store):
        return titled[-1][0]
    if used := rewards_of_policies(store).get(name):
        return used
    matches = [id_ for id_ in ids if id_.startswith(name)]
    if len(matches) > 1:
        raise Conflict(
            f"{name!r} is the beginning of several rewards' ids: {', '.join(_short(matches))}",
            "Give a longer one",
        )
    if not matches:
        raise _unknown(name, ids, store)
    return matches[0]


def find_title(title: str, store: Store) -> list[tuple[str, JudgeInfo]]:
    """Return the ids and descriptions of the project's rewards with a title, oldest first."""
    artifacts = store.artifacts
    return [
        (id_, info)
        for id_ in sorted(
            reward_ids(artifacts), key=lambda id_: artifacts.path(id_).stat().st_mtime
        )
        if reward_title(id_, artifacts) == title
        and (info := reward_info(id_, artifacts)).fitted_on is not None
        and info.fitted_on.project == store.project
    ]


def reward_title(id_: str, artifacts: Artifacts) -> str | None:
    """Return the title of a stored reward, ``None`` if it has none."""
    fields = json.loads((artifacts.path(id_) / REWARD_FILE).read_bytes())
    title = fields.get("name")
    return title if isinstance(title, str) else None


def reward_names_in(store: Store) -> dict[str, JudgeInfo]:
    """Return the learned rewards of a store by the shortest name: title, policy or id."""
    artifacts = store.artifacts
    ids = reward_ids(artifacts)
    of_policies = {id_: name for name, id_ in rewards_of_policies(store).items()}
    names: dict[str, JudgeInfo] = {}
    for id_, short in short_ids(ids).items():
        title = reward_title(id_, artifacts)
        is_latest = title is not None and [i for i, _ in find_title(title, store)][-1:] == [id_]
        name = title if title is not None and is_latest else of_policies.get(id_, short)
        names[name] = reward_info(id_, artifacts)
    return names


def rewards_of_policies(store: Store) -> dict[str, str]:
    """Return the artifact ids of the rewards of the project's best-of-n policies, by policy name.

    Policies without a name are left out.
    """
    used: dict[str, str] = {}
    for _, _, body in store.documents.all("policy"):
        policy = json.loads(body)
        reward = policy.get("decoder", {}).get("reward")
        if policy.get("name") and isinstance(reward, str):
            used[policy["name"]] = reward
    return used


def _unknown(name: str, ids: list[str], store: Store) -> NotFound:
    titles = {title for id_ in ids if (title := reward_title(id_, store.artifacts))}
    known = [
        *sorted(title for title in titles if find_title(title, store)),
        *dict.fromkeys(rewards_of_policies(store)),
        *_short(ids),
    ]
    elsewhere = [id_ for id_ in ids if reward_title(id_, store.artifacts) == name]
    hint = f"Other projects have it as {', '.join(_short(elsewhere))}. " if elsewhere else ""
    return NotFound(
        f"There is no reward {name!r} in project {store.project!r}",
        hint
        + (f"Known: {', '.join(dict.fromkeys(known))}. " if known else "")
        + f"reward:{HELD_OUT} is fitted on the held-out feedback; "
        "`backtalk reward learn --name NAME` learns another one",
    )


def _short(ids: list[str]) -> list[str]:
    return list(short_ids(ids).values())
