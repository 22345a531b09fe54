"""Fields of stored JSON that had other names in earlier versions."""

from __future__ import annotations

from typing import Any


def rename_fields(data: Any, names: dict[str, str]) -> Any:
    """Return raw data with fields renamed; data that is not a dictionary is returned unchanged.

    Parameters
    ----------
    data : Any
        Input of a ``model_validator(mode="before")``.
    names : dict[str, str]
        New names by old names.
    """
    if not isinstance(data, dict) or not names.keys() & data.keys():
        return data
    return {names.get(name, name): value for name, value in data.items()}
