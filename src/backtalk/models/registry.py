"""The register of models that are known by a name: worlds and applications plug in theirs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, TypeVar

from pydantic import JsonValue

from backtalk.errors import BacktalkError, UnknownName
from backtalk.models.protocol import Model

GROUP = "backtalk.models"
"""The group of entry points through which installed packages name their models."""

Factory = Callable[..., Model]
AnyFactory = TypeVar("AnyFactory", bound=Factory)

_registered: dict[str, Factory] = {}


def register_model(name: str) -> Callable[[AnyFactory], AnyFactory]:
    """Register what makes a model, so that a policy can name it.

    The function, or class, gets the options that the policy states. A package that is to be found
    without being imported first declares an entry point instead, in its ``pyproject.toml``::

        [project.entry-points."backtalk.models"]
        parrot = "my_package.models:parrot"

    Examples
    --------
    >>> from backtalk.models import FunctionModel
    >>> @register_model("parrot")
    ... def parrot(*, loud: bool = False) -> Model:
    ...     def say(request):
    ...         return request.messages[-1].text.upper() if loud else request.messages[-1].text
    ...     return FunctionModel(say, name="parrot")
    >>> named_model("parrot", {"loud": True}).name
    'parrot'
    """

    def register(factory: AnyFactory) -> AnyFactory:
        _registered[name] = factory
        return factory

    return register


def named_model(name: str, options: Mapping[str, JsonValue]) -> Model:
    """Return the model of that name.

    Raises
    ------
    UnknownName
        If there is none, or it does not have one of the options; it lists those that are known.
    BacktalkError
        If an option that it needs is missing.
    """
    factory = _find(name)
    parameters = inspect.signature(factory).parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        known = [parameter.name for parameter in parameters]
        for option in options:
            if option not in known:
                raise UnknownName.among(f"option of model {name}", option, known)
        for parameter in parameters:
            if parameter.default is parameter.empty and parameter.name not in options:
                raise BacktalkError(
                    f"The model {name!r} needs its option {parameter.name!r}",
                    "State it among the options of the policy's model",
                )
    try:
        model: Any = factory(**options)
    except TypeError as error:
        raise BacktalkError(f"The model {name!r} cannot be made of {options}: {error}") from error
    return _checked(name, model)


def _find(name: str) -> Factory:
    if name in _registered:
        return _registered[name]
    declared = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in declared:
        raise UnknownName.among("model named", name, sorted({*_registered, *declared}))
    factory: Factory = declared[name].load()
    return factory


def _checked(name: str, model: Any) -> Model:
    if not isinstance(model, Model):
        raise BacktalkError(
            f"What is registered as {name!r} makes a {type(model).__name__}, which is not a model",
            "It needs name, identity, generate and bound",
        )
    return model
