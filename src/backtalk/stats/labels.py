"""Labels of items, clusters and models, with one rule for missing values and types.

A value is missing if it is None, NaN, pandas' NA or NaT, masked, a text without any character but
spaces, or one of the texts that pandas and NumPy write in its place ("nan", "NaN", "<NA>", "NaT").
A missing value is never a label. Statistics refuse it by name, except in a table of ratings, where
it is left out and counted.

Labels are of one type: 1 and "1" are refused side by side, because either answer to the question
if they are equal would be a guess. Integers, floats and booleans are all numbers, as in Python.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Number
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backtalk.stats.estimate import InvalidValues

Ints = NDArray[np.intp]
"""Array of indices."""

_MISSING_TEXTS = frozenset({"nan", "NaN", "<NA>", "NaT"})


class Encoded(NamedTuple):
    """Labels as indices."""

    codes: Ints
    """Index of each item's label, -1 if it is missing; of the shape of the items."""
    labels: list[Any]
    """Distinct labels; numbers and texts are sorted, others in order of first appearance."""


def is_missing(value: object) -> bool:
    """Return true if a single value is missing.

    >>> [is_missing(value) for value in (None, float("nan"), " ", 0, False, "no")]
    [True, True, True, False, False, False]
    """
    if value is None:
        return True
    if isinstance(value, (str, bytes)):
        return not value.strip() or value in _MISSING_TEXTS
    try:
        return not bool(value == value)  # noqa: PLR0124 - NaN differs from itself
    except TypeError:  # pandas' NA
        return True
    except (ValueError, ArithmeticError):
        return False


def as_array(values: Any) -> NDArray[Any]:
    """Return values as an array of their own types, in which masked ones are None.

    NumPy alone would turn ``[1, "1"]`` into two equal texts, and NaN among texts into a text.
    """
    if isinstance(values, np.ma.MaskedArray):
        array = np.array(values.data, dtype=object)
        array[np.ma.getmaskarray(values)] = None
        return array
    if isinstance(values, np.ndarray):
        return values
    if isinstance(values, (list, tuple, range)):
        return np.fromiter(values, dtype=object, count=len(values))
    return np.asarray(values, dtype=object)


def encode(values: Any, name: str = "labels") -> Encoded:
    """Return the labels of items as indices.

    Parameters
    ----------
    values : array_like
        Label of each item, shape (n,), of one type.
    name : str, default "labels"
        Name of the argument, for the error message.

    Raises
    ------
    InvalidValues
        If there is no label, one is missing, or they are of different types.
    """
    array = as_array(values)
    if array.ndim != 1:
        raise InvalidValues(
            f"{name} has shape {array.shape}", "Give a list with one entry for each item"
        )
    if array.size == 0:
        raise InvalidValues(f"{name} is empty", "Give at least one entry")
    encoded = encode_present(array, name)
    missing = np.flatnonzero(encoded.codes < 0)
    if missing.size:
        raise InvalidValues(
            f"{name} has {missing.size} of {array.size} entries that are missing (None, NaN or "
            f"empty), the first at position {missing[0]}",
            "Leave those items out, and report how many",
        )
    return encoded


def encode_together(**arrays: Any) -> tuple[tuple[Ints, ...], list[Any]]:
    """Return the labels in several arrays as indices into one list of labels.

    Parameters
    ----------
    **arrays : array_like
        Labels by the name of the argument, each of shape (n,).

    Raises
    ------
    InvalidValues
        If an array is empty or has a missing label, if the lengths differ, or if labels are of
        different types.
    """
    encoded = {name: encode(values, name) for name, values in arrays.items()}
    require_one_length({name: item.codes.size for name, item in encoded.items()})
    merged = encode(
        [label for item in encoded.values() for label in item.labels], " and ".join(encoded)
    )
    ends = np.cumsum([len(item.labels) for item in encoded.values()])
    places = np.split(merged.codes, ends[:-1])
    codes = tuple(place[item.codes] for place, item in zip(places, encoded.values(), strict=True))
    return codes, merged.labels


def encode_present(array: NDArray[Any], name: str) -> Encoded:
    """Return labels of any shape as indices, -1 for a missing one.

    Raises
    ------
    InvalidValues
        If labels are of different types, or one is itself a collection.
    """
    if array.dtype.kind in "biuf":
        present = ~np.isnan(array)
        numbers = np.full(array.shape, -1, dtype=np.intp)
        distinct, numbers[present] = np.unique(array[present], return_inverse=True)
        return Encoded(numbers, distinct.tolist())
    # Times in nanoseconds would become integers as a list.
    flat = list(array.ravel()) if array.dtype.kind in "mM" else array.ravel().tolist()
    index: dict[Any, int] = {}
    try:
        codes = np.fromiter((index.setdefault(x, len(index)) for x in flat), np.intp, len(flat))
    except TypeError:  # not hashable
        raise _collection_error(name) from None
    if any(isinstance(label, (tuple, frozenset)) for label in index):
        raise _collection_error(name)
    first_seen = [_plain(label) for label in index]
    labels = [label for label in first_seen if not is_missing(label)]
    _require_one_type(labels, name)
    labels = _sorted(labels)
    order = {label: number for number, label in enumerate(labels)}
    places = [-1 if is_missing(label) else order[label] for label in first_seen]
    return Encoded(np.array(places, dtype=np.intp)[codes].reshape(array.shape), labels)


def require_one_length(lengths: dict[str, int]) -> None:
    """Raise ``InvalidValues`` unless all arguments have the same length."""
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise InvalidValues(f"The lengths differ: {listed}", "Give one entry of each per item")


def in_order(labels: Sequence[Any], categories: Iterable[Any] | None, statistic: str) -> list[Any]:
    """Return all labels in their order, the lowest first.

    Parameters
    ----------
    labels : sequence of Any
        Distinct labels that occur.
    categories : iterable of Any or None
        All labels in their order. None: the order of numbers, also of numbers written as text.
    statistic : str
        What needs the order, for the error message.

    Raises
    ------
    InvalidValues
        If the categories lack a label or repeat one, or there are none and the labels are not
        numbers. Two labels need no order: their distance is the same in either.
    """
    if categories is not None:
        return known_labels(labels, categories)
    if len(labels) <= 2 or all(isinstance(label, Number) for label in labels):
        return list(labels)
    numbers = as_numbers(labels)
    if numbers is None:
        example = next(label for label in labels if as_numbers([label]) is None)
        raise InvalidValues(
            f"{statistic} depends on the order of the labels, and {example!r} is not a number",
            "Pass categories=, all labels in their order",
        )
    if len(set(numbers)) < len(numbers):
        raise InvalidValues(
            f"Two of the labels {', '.join(map(repr, labels))} are the same number",
            "Write each number in one way, or pass categories=, all labels in their order",
        )
    return [label for _, label in sorted(zip(numbers, labels, strict=True))]


def known_labels(
    labels: Iterable[Any], categories: Iterable[Any], name: str = "categories"
) -> list[Any]:
    """Return categories as a list, after checking that they name every label once.

    Parameters
    ----------
    labels : iterable of Any
        Labels that occur.
    categories : iterable of Any
        All labels.
    name : str, default "categories"
        Name of the argument, for the error message.

    Raises
    ------
    InvalidValues
        If a label is not among the categories, or a category is missing or named twice.
    """
    if not isinstance(categories, Iterable) or isinstance(categories, str):
        raise InvalidValues(f"{name} is {categories!r}", f"Give {name} as a list")
    listed = list(categories)
    if len(encode(listed, name).labels) < len(listed):
        raise InvalidValues(f"{name} names a label twice", "Name each label once")
    names = set(listed)
    for label in labels:
        if label not in names:
            raise InvalidValues(f"{label!r} is not among the {name}", "Name all of them")
    return listed


def as_numbers(labels: Iterable[Any]) -> list[float] | None:
    """Return labels as floats if all are finite numbers, or texts of such; ``None`` otherwise."""
    numbers = []
    for label in labels:
        if not isinstance(label, (str, Number)) or (isinstance(label, str) and "_" in label):
            return None
        try:
            number = float(label)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            return None
        if not math.isfinite(number):
            return None
        numbers.append(number)
    return numbers


def _plain(label: Any) -> Any:
    """Return a label as a Python object, if it is one of NumPy's numbers or texts."""
    return label.item() if isinstance(label, (np.number, np.bool_, np.str_)) else label


def _type(label: Any) -> str:
    if isinstance(label, Number):
        return "numbers"
    return "texts" if isinstance(label, str) else f"labels of type {type(label).__name__}"


def _collection_error(name: str) -> InvalidValues:
    return InvalidValues(
        f"{name} has an entry that is a list or another collection",
        "Give one label for each item",
    )


def _require_one_type(labels: Sequence[Any], name: str) -> None:
    examples: dict[str, Any] = {}
    for label in labels:
        examples.setdefault(_type(label), label)
    if len(examples) > 1:
        (one, a), (other, b) = list(examples.items())[:2]
        raise InvalidValues(
            f"{name}: there are {one} such as {a!r} and {other} such as {b!r}",
            "Give labels of one type",
        )


def _sorted(labels: list[Any]) -> list[Any]:
    try:
        return sorted(labels)
    except TypeError:
        return labels
