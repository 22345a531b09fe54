"""Validation of arguments: arrays of checked values, or an error that says what is wrong."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backtalk.stats.estimate import InvalidValues
from backtalk.stats.labels import Ints, as_array, encode, is_missing, require_one_length

__all__ = [
    "Floats",
    "Ints",
    "bounded_values",
    "check_bounds",
    "check_level",
    "finite_values",
    "float_array",
    "group_numbers",
    "is_number",
    "probability_values",
    "require_same_length",
]

Floats = NDArray[np.float64]
"""Array of floats."""


def float_array(values: Any, name: str = "values") -> Floats:
    """Return values as an array of floats of any shape, NaN where one is missing.

    Raises
    ------
    InvalidValues
        If a value is not a number, or rows have different lengths.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
        return np.asarray(np.ma.filled(values.astype(float), np.nan))
    if isinstance(values, (list, tuple)) and set(map(type, values)) <= {float, int, bool}:
        with suppress(OverflowError):  # an integer beyond the floats is refused by its position
            return np.asarray(values, dtype=float)
    array = as_array(values)
    if array.ndim == 1 and any(isinstance(row, (list, tuple, np.ndarray)) for row in array):
        try:
            array = np.asarray(values, dtype=object)
        except ValueError:
            array = np.empty(0, dtype=object)
        if array.ndim == 1:
            raise InvalidValues(f"{name} has rows of different lengths", "Give equally long rows")
    numbers = [_float(value, name, index) for index, value in enumerate(array.ravel().tolist())]
    return np.array(numbers, dtype=float).reshape(array.shape)


def _float(value: Any, name: str, index: int) -> float:
    if is_missing(value):
        return float("nan")
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidValues(
            f"{name} has {value!r} at position {index}, which is not a number", "Give numbers"
        ) from None


def finite_values(values: ArrayLike, name: str = "values") -> Floats:
    """Return values as a non-empty array of finite floats, shape (n,).

    Raises
    ------
    InvalidValues
        If there is no value, more than one dimension, or a value that is missing, infinite or not
        a number.
    """
    array = float_array(values, name)
    if array.ndim != 1:
        raise InvalidValues(f"{name} has {array.ndim} dimensions", "Give one value per item")
    if array.size == 0:
        raise InvalidValues(f"{name} is empty", "Give at least one value")
    if not np.isfinite(array).all():
        invalid = np.flatnonzero(~np.isfinite(array))
        raise InvalidValues(
            f"{name} has {invalid.size} of {array.size} values that are missing or infinite, "
            f"the first at position {invalid[0]}",
            "Leave those items out, and report how many",
        )
    return array


def bounded_values(values: ArrayLike, bounds: tuple[float, float], name: str = "values") -> Floats:
    """Return values as an array of finite floats within bounds, shape (n,).

    Parameters
    ----------
    values : ArrayLike
        Shape (n,).
    bounds : tuple[float, float]
        Smallest and largest value allowed.
    name : str, default "values"
        Name of the argument, for the error message.

    Raises
    ------
    InvalidValues
        If a value is not finite or out of bounds.
    """
    array = finite_values(values, name)
    low, high = check_bounds(bounds)
    outside = np.flatnonzero((array < low) | (array > high))
    if outside.size:
        raise InvalidValues(
            f"{name} has {array[outside[0]]:g} at position {outside[0]}, "
            f"outside [{low:g}, {high:g}]",
            "Pass bounds=, the lowest and the highest value of the scale",
        )
    return array


def probability_values(values: ArrayLike, name: str = "values") -> Floats:
    """Return values as an array of floats in [0, 1], shape (n,)."""
    array = finite_values(values, name)
    outside = np.flatnonzero((array < 0) | (array > 1))
    if outside.size:
        raise InvalidValues(
            f"{name} has {array[outside[0]]:g} at position {outside[0]}",
            "Give values in [0, 1]",
        )
    return array


def require_same_length(**arrays: NDArray[np.generic]) -> None:
    """Raise ``InvalidValues`` unless all arrays have the same length."""
    require_one_length({name: len(array) for name, array in arrays.items()})


def is_number(value: object) -> bool:
    """Return true for a number that can be compared: an integer, a float or one of NumPy's."""
    return isinstance(value, (Real, Decimal)) and not is_missing(value)


def check_bounds(bounds: tuple[float, float]) -> tuple[float, float]:
    """Return the ends of a scale after checking that they are two numbers in order."""
    ends = tuple(bounds) if isinstance(bounds, (tuple, list, np.ndarray)) else ()
    if len(ends) != 2 or not all(map(is_number, ends)):
        raise InvalidValues(
            f"The bounds {bounds!r} are not two numbers", "Give (smallest, largest)"
        )
    low, high = ends
    if not low < high:
        raise InvalidValues(f"The bounds {bounds} are not in order", "Give (smallest, largest)")
    return low, high


def check_level(level: float) -> float:
    """Return a nominal coverage after checking that it lies strictly between 0 and 1."""
    if not is_number(level) or not 0 < level < 1:
        raise InvalidValues(f"The level {level!r} is not a coverage", "Give one such as 0.95")
    return level


def group_numbers(labels: ArrayLike, length: int, name: str = "clusters") -> tuple[Ints, int]:
    """Return the group number of each item, shape (length,), and the number of groups.

    Parameters
    ----------
    labels : ArrayLike
        Group label of each item, shape (length,).
    length : int
        Number of items.
    name : str, default "clusters"
        Name of the argument, for the error message.

    Raises
    ------
    InvalidValues
        If the shape is not (length,), or a label is missing or of another type than the others.
    """
    array = as_array(labels)
    if array.ndim != 1 or array.shape[0] != length:
        raise InvalidValues(
            f"{name} has shape {array.shape} where there are {length} values",
            "Give one label per value",
        )
    encoded = encode(array, name)
    return encoded.codes, len(encoded.labels)
