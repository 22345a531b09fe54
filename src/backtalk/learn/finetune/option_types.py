"""Numeric types of the options of objectives and methods."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Positive = Annotated[float, Field(gt=0)]
"""Number above 0, such as a temperature or the coefficient ``beta``."""

NonNegative = Annotated[float, Field(ge=0)]
"""Number of at least 0, such as the weight of a loss term."""

Fraction = Annotated[float, Field(ge=0, le=1)]
"""Number in [0, 1]."""

PositiveFraction = Annotated[float, Field(gt=0, le=1)]
"""Number in (0, 1], such as a discount."""

FlipRate = Annotated[float, Field(ge=0, lt=0.5)]
"""Share of labels that are wrong, in [0, 0.5)."""

Smoothing = Annotated[float, Field(gt=0, lt=0.5)]
"""Probability mass moved to the other label, in (0, 0.5)."""

Count = Annotated[int, Field(ge=1)]
"""Whole number of at least 1."""
