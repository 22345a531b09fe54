"""Options of methods and objectives: validation, descriptions and names of earlier versions."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import ConfigDict, ValidationError, create_model

from backtalk.errors import BacktalkError, UnknownName
from backtalk.feedback.record import explain

OPTION_ALIASES: Mapping[str, tuple[str, ...]] = {
    "batch": ("batch_size",),
    "clip": ("max_grad_norm",),
    "warm_up": ("warmup_ratio",),
    "schedule": ("lr_scheduler",),
    "checkpointing": ("gradient_checkpointing",),
    "rank": ("lora_rank",),
    "precision": ("dtype",),
    "save_every": ("checkpoint_every_seconds",),
    "flip": ("label_smoothing", "flip_rate"),
    "alike": ("min_similarity",),
    "forget": ("drop_rate",),
    "heaviest": ("max_weight",),
    "longest": ("max_responses",),
    "most_changed": ("max_changed",),
    "smoothing": ("label_smoothing",),
}
"""Names that options had before, each with its present names; the first that exists is meant."""


class LazyMapping(Mapping[str, Any]):
    """Mapping that a function makes when it is first read.

    Parameters
    ----------
    make : Callable[[], Mapping[str, Any]]
        Function that makes it.
    """

    def __init__(self, make: Callable[[], Mapping[str, Any]]) -> None:
        self._make = make

    @cached_property
    def _items(self) -> Mapping[str, Any]:
        return self._make()

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


@dataclass(frozen=True)
class Dependency:
    """Condition on another option without which an option has no effect."""

    option: str
    """Option that decides."""
    has_effect: Callable[[Any], bool]
    """Function of its value."""
    mend: str
    """Values of the other option that give the option an effect, in words."""


DEPENDENCIES: Mapping[str, Dependency] = {
    "lora_rank": Dependency("adapter", lambda value: value != "none", "adapter=lora or dora"),
    "embedder": Dependency(
        "judge", lambda value: value in {"learned", "similarity"}, "judge=learned"
    ),
}
"""Options that have an effect only with certain values of another option."""


def rename_options(
    values: Mapping[str, Any],
    known: Mapping[str, Any],
    aliases: Mapping[str, tuple[str, ...]] = OPTION_ALIASES,
) -> dict[str, Any]:
    """Return options under their present names, with a ``DeprecationWarning`` for each old name.

    Parameters
    ----------
    values : Mapping[str, Any]
        Options by name.
    known : Mapping[str, Any]
        Options that exist; a name among them is never taken for an old one.
    aliases : Mapping[str, tuple[str, ...]], optional
        Present names of each old name.

    Raises
    ------
    BacktalkError
        If an option is given under both names.
    """
    results: dict[str, Any] = {}
    for name, value in values.items():
        present = next((new for new in aliases.get(name, ()) if new in known), None)
        if name in known or present is None:
            results[name] = value
            continue
        if present in values:
            raise BacktalkError(
                f"The option {present} is given twice, also under its old name {name}",
                f"Leave out {name}",
            )
        warnings.warn(
            f"The option {name} is called {present} now", DeprecationWarning, stacklevel=2
        )
        results[present] = value
    return results


def read_options(
    name: str,
    defaults: Mapping[str, Any],
    types: Mapping[str, Any],
    values: Mapping[str, Any],
    *,
    aliases: Mapping[str, tuple[str, ...]] = OPTION_ALIASES,
) -> dict[str, Any]:
    """Return validated options: strings converted to the option's type, defaults filled in.

    Parameters
    ----------
    name : str
        Name of the method or objective, for error messages.
    defaults : Mapping[str, Any]
        Default of every option.
    types : Mapping[str, Any]
        Type of every option.
    values : Mapping[str, Any]
        Values that differ from the defaults.
    aliases : Mapping[str, tuple[str, ...]], optional
        Present names of options that were renamed; see :func:`rename_options`.

    Raises
    ------
    UnknownName
        If there is no such option; the message lists the known ones.
    BacktalkError
        If a value does not fit its type, or an option would have no effect.
    """
    values = rename_options(values, defaults, aliases)
    for option in values:
        if option not in defaults:
            raise UnknownName.among(f"option of {name}", option, list(defaults))
    fields: Any = {option: (types[option], default) for option, default in defaults.items()}
    model = create_model("Options", __config__=ConfigDict(extra="forbid"), **fields)
    try:
        options = model(**values).model_dump()
    except ValidationError as error:
        raise BacktalkError(f"An option of {name} is not valid: {explain(error)}") from None
    _refuse_idle_options(name, defaults, options)
    return options


def _refuse_idle_options(
    name: str, defaults: Mapping[str, Any], options: Mapping[str, Any]
) -> None:
    for option, dependency in DEPENDENCIES.items():
        if option not in options or dependency.option not in options:
            continue
        value = options[dependency.option]
        if options[option] != defaults[option] and not dependency.has_effect(value):
            raise BacktalkError(
                f"The option {option} of {name} has no effect with {dependency.option}={value}",
                f"Set {dependency.mend}, or leave {option} out",
            )


def keyword_options(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the keyword-only parameters of a function with their defaults."""
    return {
        option.name: option.default
        for option in inspect.signature(function).parameters.values()
        if option.kind is option.KEYWORD_ONLY
    }


@dataclass(frozen=True)
class OptionDescription:
    """Documentation of one option."""

    name: str
    type: str
    """Type as a user writes it, such as ``"float"`` or ``"hard | soft"``."""
    default: Any
    """Default value; ``None`` if the option may be left out."""
    meaning: str
    """Description in a sentence or two."""


def describe_options(
    defaults: Mapping[str, Any], types: Mapping[str, Any], meanings: Mapping[str, str]
) -> tuple[OptionDescription, ...]:
    """Return the documentation of options.

    Parameters
    ----------
    defaults : Mapping[str, Any]
        Default of every option.
    types : Mapping[str, Any]
        Type of every option.
    meanings : Mapping[str, str]
        Description of every option.
    """
    return tuple(
        OptionDescription(name, type_name(types[name]), default, meanings.get(name, ""))
        for name, default in defaults.items()
    )


def type_name(annotation: Any) -> str:
    """Return a type as a user writes it.

    >>> type_name(Annotated[int, "positive"] | None), type_name(Literal["hard", "soft"])
    ('int', 'hard | soft')
    """
    origin = get_origin(annotation)
    if origin is Annotated:
        return type_name(get_args(annotation)[0])
    if origin is Literal:
        return " | ".join(map(str, get_args(annotation)))
    if origin in {Union, UnionType}:
        return " | ".join(type_name(a) for a in get_args(annotation) if a is not NoneType)
    return getattr(annotation, "__name__", str(annotation))


def parameter_descriptions(function: Callable[..., Any]) -> dict[str, str]:
    """Return the description of each parameter from a function's numpydoc docstring.

    >>> def halve(x, *, digits=2):
    ...     '''Halve a number.
    ...
    ...     Parameters
    ...     ----------
    ...     x : float
    ...         The number.
    ...     digits : int, default 2
    ...         Decimal places
    ...         of the result.
    ...     '''
    >>> parameter_descriptions(halve)
    {'x': 'The number.', 'digits': 'Decimal places of the result.'}
    """
    text = inspect.getdoc(function) or ""
    section = re.search(
        r"^Parameters\n-+\n(.*?)(?=^\w[\w ]*\n-{3,}|\Z)", text, re.MULTILINE | re.DOTALL
    )
    results: dict[str, str] = {}
    if section is None:
        return results
    names: list[str] = []
    for line in section.group(1).splitlines():
        if line.startswith(" "):
            for name in names:
                results[name] = f"{results.get(name, '')} {line.strip()}".strip()
        elif line:
            names = [name.strip().lstrip("*") for name in line.split(" : ")[0].split(",")]
    return results
