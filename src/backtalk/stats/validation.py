"""Validation of arguments: arrays of checked values, or an error that says what is wrong."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backtalk.stats.estimate import InvalidValues

Floats = NDArray[np.float64]
"""Array of floats."""
Ints = NDArray[np.intp]
"""Array of indices."""


def finite_values(values: ArrayLike, name: str = "values") -> Floats:
    """Return values as a non-empty array of finite floats, shape (n,).

    Raises
    ------
    InvalidValues
        If there is no value, more than one dimension, or a value that is NaN or infinite.
    """
    array = np.asarray(values, dtype=float)
    if array.ndim != 1:
        raise InvalidValues(f"{name} has {array.ndim} dimensions", "Give one value per item")
    if array.size == 0:
        raise InvalidValues(f"{name} is empty", "Give at least one value")
    if not np.isfinite(array).all():
        invalid = np.flatnonzero(~np.isfinite(array))
        raise InvalidValues(
            f"{name} has {invalid.size} of {array.size} values that are NaN or infinite, "
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
    low, high = bounds
    if not low < high:
        raise InvalidValues(f"The bounds {bounds} are not in order", "Give (smallest, largest)")
    outside = np.flatnonzero((array < low) | (array > high))
    if outside.size:
        raise InvalidValues(
            f"{name} has {array[outside[0]]:g} at position {outside[0]}, "
            f"outside [{low:g}, {high:g}]",
            "Pass the bounds of the scale, or bounds=None if it has none",
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
    lengths = {name: array.shape[0] for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise InvalidValues(f"The lengths differ: {listed}", "Give one entry of each per item")


def check_level(level: float) -> float:
    """Return a nominal coverage after checking that it lies strictly between 0 and 1."""
    if not 0 < level < 1:
        raise InvalidValues(f"The level {level} is not a coverage", "Give one such as 0.95")
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
        If the shape is not (length,).
    """
    array = np.asarray(labels)
    if array.ndim != 1 or array.shape[0] != length:
        raise InvalidValues(
            f"{name} has shape {array.shape} where there are {length} values",
            "Give one label per value",
        )
    uniques, numbers = np.unique(array, return_inverse=True)
    return numbers.astype(np.intp), len(uniques)
