"""Next steps of a project: commands that work on its store, or what is missing for them."""

from __future__ import annotations

import json
from collections.abc import Iterator

from backtalk.evaluate.judges.circular import prompts_learned_from
from backtalk.evaluate.storage import list_evaluations
from backtalk.experiments import running_experiment
from backtalk.feedback.case import prompt_key
from backtalk.feedback.split import split_for
from backtalk.learn.availability import AvailabilityCheck
from backtalk.learn.feedback_sample import FeedbackSample
from backtalk.learn.method import METHODS, get_method
from backtalk.learn.missing_feedback import held_out_remark
from backtalk.learn.reward_feedback import BETTER_AND_WORSE
from backtalk.learn.training_set import TrainingSet
from backtalk.models.spec import EndpointSpec, NamedSpec, ReplaySpec
from backtalk.policy import Policy, list_policies
from backtalk.policy.origin import policy_origin
from backtalk.promotion.alternatives import HELD_OUT_REWARD, command_name
from backtalk.promotion.history import active_policy, promotion_history
from backtalk.promotion.next_step import after_evaluation
from backtalk.store import Store

_RECORDED = "recorded"
"""Judge that looks up stored feedback."""
_SANDBOX_MODELS = frozenset({"small", "writer"})
_NAMES = {"best-of-n": "chooser", "prompt": "clearer", "memory": "remembers"}
"""Names that a suggested command gives to what a method learns; by default ``tuned``."""


def next_steps(store: Store) -> list[str]:
    """Return what to do next in a project, one sentence each, with commands in backticks.

    Parameters
    ----------
    store : Store
        Store of the project.
    """
    policies = list_policies(store)
    if not any(store.counts().values()) and not policies:
        text = (
            "The project is empty. `backtalk import FILE` reads feedback from a file; `backtalk "
            "serve --upstream URL` stores the answers of an application and the feedback on them"
        )
        return [text]
    if not policies:
        return _first_policy(store)
    active = active_policy(store)
    if active is None:
        name = command_name(policies[0], store)
        text = (
            f"Next: `backtalk promote {name}`; the first active policy of a project needs no "
            "evidence, and learned ones are compared with it"
        )
        return [text]
    if (running := running_experiment(store)) is not None:
        return [f"Next: `backtalk experiment show {running.name}`, the experiment in progress"]
    candidate = _latest_candidate(store, policies, active)
    if candidate is None:
        return [_learning(store, active)]
    return _candidate_steps(candidate, active, store)


def evaluation_command(candidate: Policy, baseline: Policy, store: Store) -> str:
    """Return the command that compares two policies by a judge that works in this store.

    It names a file of new prompts if the project has no held-out prompt, or the candidate learned
    from them.

    Parameters
    ----------
    candidate : Policy
        Candidate.
    baseline : Policy
        Policy to compare it with.
    store : Store
        Store with both policies and the feedback.
    """
    active = active_policy(store)
    is_default = active is not None and active.id == baseline.id
    option = "" if is_default else f" --against {command_name(baseline, store)}"
    judge = suggested_judge(candidate, baseline, store)
    has_new = _is_new_to(candidate, store) and any(
        split_for(prompt_key(case.interaction.prompt)) == "held-out" for case in store.cases()
    )
    prompts = "" if has_new else " --prompts FILE"
    return f"backtalk evaluate {command_name(candidate, store)}{option} --judge {judge}{prompts}"


def suggested_judge(candidate: Policy, baseline: Policy, store: Store) -> str:
    """Return the name of a judge that can compare two policies, and that the gate accepts.

    Parameters
    ----------
    candidate : Policy
        Candidate.
    baseline : Policy
        Policy that it is compared with.
    store : Store
        Store with both policies and the feedback.

    Returns
    -------
    str
        ``"recorded"`` for replays, the truth for policies of the sandbox, a reward of the held-out
        feedback if there is enough of it and the candidate did not learn from it, otherwise
        ``"people"``.
    """
    if all(isinstance(policy.model, ReplaySpec) for policy in (candidate, baseline)):
        return _RECORDED
    for policy in _with_ancestors(candidate, store):
        if isinstance(policy.model, NamedSpec) and policy.model.name in _SANDBOX_MODELS:
            world = policy.model.options.get("world")
            return f"true-utility:{world}" if world else "true-utility"
    unseen = _is_new_to(candidate, store)
    held_out = FeedbackSample(TrainingSet(store, split="held-out"))
    return HELD_OUT_REWARD if unseen and BETTER_AND_WORSE.is_met(held_out) else "people"


def default_judge(candidate: Policy, baseline: Policy, store: Store) -> str:
    """Return the name of the judge of an evaluation that names none.

    It is the suggested one. People are not asked unless they are named: in their place it is the
    stored feedback, whose error names the judges that could be used.

    Parameters
    ----------
    candidate : Policy
        Candidate.
    baseline : Policy
        Policy that it is compared with.
    store : Store
        Store with both policies and the feedback.
    """
    suggested = suggested_judge(candidate, baseline, store)
    return _RECORDED if suggested == "people" else suggested


def _is_new_to(candidate: Policy, store: Store) -> bool:
    """Return true if a policy learned from no held-out prompts."""
    return not any(prompts_learned_from(policy_origin(candidate, store), "held-out"))


def _with_ancestors(policy: Policy, store: Store) -> Iterator[Policy]:
    by_id = {item.id: item for item in list_policies(store)}
    current: Policy | None = policy
    while current is not None:
        yield current
        parent = current.lineage.parent
        current = by_id.pop(parent, None) if parent else None


def _first_policy(store: Store) -> list[str]:
    models = (
        response.model
        for case in store.cases()
        for response in case.interaction.responses
        if response.model
    )
    model = next(models, None)
    recipe = (
        f"kind: endpoint, model: {json.dumps(model)}" if model else "kind: local, model: FOLDER"
    )
    others = "`kind: local` is a folder with weights, `kind: endpoint` a model behind an address"
    text = (
        f"There is no policy yet. `printf 'model: {{{recipe}}}\\n' > plain.yaml` describes the "
        f"model that answers now ({others})"
    )
    return [text, "Next: `backtalk policy add plain.yaml --name plain`"]


def _latest_candidate(store: Store, policies: list[Policy], active: Policy) -> Policy | None:
    """Return the latest policy that is newer than the active one and never was active."""
    past = {record.promotion.policy for record in promotion_history(store)}
    position = [policy.id for policy in policies].index(active.id)
    newer = [policy for policy in policies[position + 1 :] if policy.id not in past]
    return newer[-1] if newer else None


def _candidate_steps(candidate: Policy, active: Policy, store: Store) -> list[str]:
    results = [
        result
        for result in list_evaluations(store, candidate=candidate.id)
        if result.baseline == active.id
    ]
    if not results:
        return [f"Next: `{evaluation_command(candidate, active, store)}`"]
    return after_evaluation(results[-1], candidate, store, judge=results[-1].judge)


def _learning(store: Store, active: Policy) -> str:
    check = AvailabilityCheck(TrainingSet(store), active)
    name = command_name(active, store)
    if not check.counts.prompts:
        return (
            f"{active.label} is active, and there is no feedback to learn from. `backtalk serve "
            "--upstream URL` collects it, `backtalk import FILE` reads it, and `backtalk task add "
            "NAME` makes a task for people of answers in the store"
        )
    if check.counts.all_held_out:
        return held_out_remark(check.counts)
    method = _suggested_method(check, active)
    if method is None:
        return "Nothing can be learned yet: `backtalk methods` says what each method is missing"
    taken = {policy.name for policy in list_policies(store)}
    title = _NAMES.get(method, "tuned")
    number = 1
    while (unique := title if number == 1 else f"{title}-{number}") in taken:
        number += 1
    return f"Next: `backtalk learn {method} --policy {name} --name {unique}`"


def _suggested_method(check: AvailabilityCheck, active: Policy) -> str | None:
    trains = not isinstance(active.model, EndpointSpec | NamedSpec | ReplaySpec)
    first = ("dpo", "kto", "sft", "best-of-n") if trains else ("best-of-n", "prompt", "memory")
    return next(
        (name for name in first if check.availability(get_method(name)).available),
        next((item.name for item in METHODS.values() if check.availability(item).available), None),
    )
