"""Base model of a job: a policy, a registered model, or one that the settings name."""

from __future__ import annotations

from backtalk.errors import NotFound
from backtalk.learn.method import get_method
from backtalk.models import EndpointSpec, NamedSpec, ReplaySpec
from backtalk.models.registry import MODELS
from backtalk.policy import Policy, read_policy
from backtalk.promotion import active_policy
from backtalk.serve.auth import Caller
from backtalk.serve.backends.policy_resolver import parse_model_name
from backtalk.serve.errors import APIError
from backtalk.serve.fine_tuning.settings import FineTuningSettings
from backtalk.serve.store_connection import StoreConnection

_MAX_ALIASES = 10


def find_base(
    connection: StoreConnection,
    settings: FineTuningSettings,
    caller: Caller,
    *,
    model: str,
    project: str,
) -> tuple[str, Policy]:
    """Return the project of a job, and the policy that it fine-tunes.

    Parameters
    ----------
    connection : StoreConnection
        Store of the policies.
    settings : FineTuningSettings
        Settings, which may give models further names.
    caller : Caller
        Caller, who may be limited to a project.
    model : str
        Name of the model in the request.
    project : str
        Project of the request, for a model that is in none.

    Raises
    ------
    APIError
        If there is no such model, or the caller may not use its project.
    """
    for _ in range(_MAX_ALIASES):
        name = parse_model_name(model)
        if name is not None:
            project = caller.in_project(name.project, project)
            return project, _read(connection, project, name.policy)
        alias = settings.models.get(model)
        if alias is None:
            return project, _named(connection, settings, project, model)
        if not isinstance(alias, str):
            return project, Policy(model=alias)
        model = alias
    raise APIError(400, f"The setting fine_tuning.models has a circle at {model!r}", param="model")


def check_trainable(policy: Policy, method: str, model: str) -> None:
    """Check that a method can train a base model, as far as its kind tells.

    Parameters
    ----------
    policy : Policy
        Base.
    method : str
        Name of a learning method.
    model : str
        Name of the model in the request.

    Raises
    ------
    APIError
        If the method trains weights, and those of the model are elsewhere.
    """
    is_remote = isinstance(policy.model, EndpointSpec | ReplaySpec)
    if is_remote and get_method(method).target == "weights":
        raise _unavailable(
            model,
            "its weights are not on this machine. Name a policy with a local model, or one of "
            "the setting fine_tuning.models",
        )


def _read(connection: StoreConnection, project: str, policy: str | None) -> Policy:
    label = f"backtalk:{project}" + (f"/{policy}" if policy else "")
    if project not in connection.store().projects():
        raise _unavailable(label, f"there is no project {project!r}")
    store = connection.store(project)
    if policy is None:
        active = active_policy(store)
        if active is None:
            raise _unavailable(label, f"the project {project!r} has no promoted policy")
        return active
    try:
        return read_policy(store, policy)
    except NotFound as error:
        raise _unavailable(policy, str(error)) from None


def _named(
    connection: StoreConnection, settings: FineTuningSettings, project: str, model: str
) -> Policy:
    store = connection.store(project)
    try:
        return read_policy(store, model)
    except NotFound:
        if model in MODELS:
            return Policy(model=NamedSpec(name=model))
    known = [*settings.models, *MODELS.names()]
    raise _unavailable(
        model,
        f"it is no policy of the project {project!r}, and none of {', '.join(known)}. Add a policy "
        "with `backtalk policy add`, or give a local model this name by the setting "
        "fine_tuning.models",
    )


def _unavailable(model: str, reason: str) -> APIError:
    return APIError(
        400,
        f"Model {model} is not available for fine-tuning: {reason}",
        code="model_not_available",
        param="model",
    )
