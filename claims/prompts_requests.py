"""Claims about rewritten requests: a real model completes what users write too short."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from backtalk.feedback import Annotator, Edit, FollowUp, Interaction, Message
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Prompt
from backtalk.learn.no_improvement import NoImprovement
from backtalk.models.run_sync import run_sync
from backtalk.policy import Policy, load_policy, save_policy
from backtalk.worlds.lists.task import ListsTask
from claims.claim import above, claim
from claims.learning import Trial, open_trial
from claims.smollm2 import SMOLLM2

REQUESTS = 32
"""Number of short requests with a corrected answer."""
RESTATED = 16
"""Number of these that the user states again in full."""
TESTED = 16
"""Number of held-out short requests."""
KINDS = ("alphabet", "chores")
"""Kinds of tasks with a short request: the words or chores, without what to do with them."""


@claim(
    system="Audionese prompt rewriting",
    paper="Chang et al. (2024), On the open prompt challenge in conditional audio generation, "
    "section 4",
    method="rewrite-request",
    world="lists",
    says="Requests that say too little are answered better after a real model (SmolLM2-135M) "
    "rewrites them as users did who were misunderstood. The rewriter is chosen by the answers.",
    expected=[
        above(
            "gain",
            "utility of answers to short requests: rewritten less as they are",
            paper="text-audio alignment rises markedly; no figure is comparable",
        ),
    ],
)
def rewrite_request(seed: int) -> Mapping[str, float]:
    """Learn from corrected answers to short requests, some of which the user states again."""
    with open_trial("lists", seed) as trial:
        rewriter = Policy(model=SMOLLM2, name="rewriter")
        save_policy(trial.store, rewriter)
        learned_from = tasks(trial, "train", REQUESTS)
        prompts = [short(task) for task in learned_from]
        texts = answers(trial, trial.policy, prompts)
        cases = [
            corrected(trial, task, prompt, text, restated=number < RESTATED)
            for number, (task, prompt, text) in enumerate(
                zip(learned_from, prompts, texts, strict=True)
            )
        ]
        try:
            learned = trial.learn(
                "rewrite-request",
                trial.training_set(cases),
                rewriter="rewriter",
                candidates=3,
                examples=8,
                confirmation=14,
            )
        except NoImprovement:
            learned = trial.policy
        tested = tasks(trial, "held-out", TESTED)
        after, before = (utility(trial, policy, tested) for policy in (learned, trial.policy))
        return {"gain": after - before}


def tasks(trial: Trial, split: str, count: int) -> list[ListsTask]:
    """Return tasks of the kinds with a short request.

    Parameters
    ----------
    trial : Trial
        Trial.
    split : str
        Split of the world.
    count : int
        Maximum number of tasks.
    """
    drawn = trial.world.tasks(split, 5 * count, seed=trial.seed)  # type: ignore[arg-type]
    return [task for task in drawn if task.kind in KINDS][:count]


def short(task: ListsTask) -> Prompt:
    """Return the request of a user who says too little."""
    return (Message.user(task.items),)


def corrected(trial: Trial, task: ListsTask, prompt: Prompt, text: str, *, restated: bool) -> Case:
    """Return an answer with the correction of a person.

    Parameters
    ----------
    trial : Trial
        Trial.
    task : ListsTask
        Task that the person means.
    prompt : Prompt
        Request as it was sent.
    text : str
        Answer.
    restated : bool
        If true, the person also states the request in full.
    """
    interaction = Interaction.of(prompt, text)
    person = Annotator.simulated("user")
    feedback: list[Edit | FollowUp] = [
        Edit(
            interaction=interaction.id,
            annotator=person,
            response="0",
            text=trial.world.ideal(task),
        )
    ]
    if restated:
        feedback.append(
            FollowUp(interaction=interaction.id, annotator=person, text=task.text, act="rephrasing")
        )
    return Case(interaction, tuple(feedback))


def answers(trial: Trial, policy: Policy, prompts: Sequence[Prompt]) -> list[str]:
    """Return an answer to each prompt.

    Parameters
    ----------
    trial : Trial
        Trial.
    policy : Policy
        Policy that answers.
    prompts : sequence of Prompt
        Prompts.
    """
    loaded = load_policy(policy, trial.store.artifacts, store=trial.store)
    outputs = run_sync(loaded.decode(prompts, seed=trial.seed))
    return [output.answer.text for output in outputs]


def utility(trial: Trial, policy: Policy, tested: Sequence[ListsTask]) -> float:
    """Return the mean utility of answers to short requests, by the tasks that they mean.

    Parameters
    ----------
    trial : Trial
        Trial.
    policy : Policy
        Policy that answers.
    tested : sequence of ListsTask
        Tasks.
    """
    texts = answers(trial, policy, [short(task) for task in tested])
    return float(
        np.mean(
            [
                trial.world.score_answer(task, text, ()).utility
                for task, text in zip(tested, texts, strict=True)
            ]
        )
    )
