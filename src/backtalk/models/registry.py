"""Registry of models that a policy refers to by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import JsonValue

from backtalk.models.protocol import Model
from backtalk.registry import Factory, FactoryRegistry

MODELS: FactoryRegistry[Model] = FactoryRegistry(
    "model",
    product_type=Model,
    needs="name, identity, generate and bound",
    entry_points="backtalk.models",
)
"""Factories of models by name: those of this process and those of installed packages."""


def register_model(name: str) -> Callable[[Factory], Factory]:
    """Register a function or class that makes a model, so that policies can refer to it by name.

    It receives the ``options`` of the policy's :class:`~backtalk.models.spec.NamedSpec`. An
    installed package declares an entry point instead, in its ``pyproject.toml``, so that it need
    not be imported first::

        [project.entry-points."backtalk.models"]
        parrot = "my_package.models:parrot"

    Raises
    ------
    Conflict
        If another model has the name.

    Examples
    --------
    >>> from backtalk.models import FunctionModel
    >>> @register_model("parrot")
    ... def parrot(*, loud: bool = False) -> Model:
    ...     def answer(request):
    ...         return request.messages[-1].text.upper() if loud else request.messages[-1].text
    ...     return FunctionModel(answer, name="parrot")
    >>> get_model("parrot", {"loud": True}).name
    'parrot'
    """
    return MODELS.decorator(name)


def get_model(name: str, options: Mapping[str, JsonValue]) -> Model:
    """Return the model of that name, made with these options.

    Raises
    ------
    UnknownName
        If there is no such model, or it has no such option; the message lists the known ones.
    BacktalkError
        If a required option is missing.
    """
    return MODELS.make(name, **options)
