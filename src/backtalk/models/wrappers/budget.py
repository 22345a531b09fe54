"""Budgets, prices and costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from backtalk.errors import BacktalkError
from backtalk.feedback.record import OptionalField, Record, explain
from backtalk.models.protocol import Usage

_MILLION = 1_000_000


class Budget(Record):
    """Limits of a run. A limit that is not set does not apply."""

    calls: OptionalField[Annotated[int, Field(ge=0)]] = None
    """Maximum number of calls."""
    tokens: OptionalField[Annotated[int, Field(ge=0)]] = None
    """Maximum number of prompt and completion tokens together."""
    money: OptionalField[Annotated[float, Field(ge=0)]] = None
    """Maximum cost, in the currency of the prices."""
    seconds: OptionalField[Annotated[float, Field(ge=0)]] = None
    """Maximum time, in seconds, during which at least one call is in flight."""

    @property
    def limits_tokens(self) -> bool:
        """True if tokens or money are limited, so that each answer needs a limit of its own."""
        return self.tokens is not None or self.money is not None


class Price(Record):
    """Price of a model, per million tokens."""

    prompt: Annotated[float, Field(ge=0)]
    completion: Annotated[float, Field(ge=0)]

    def cost(self, usage: Usage) -> Decimal:
        """Return the exact cost of a usage."""
        return (
            usage.prompt_tokens * Decimal(str(self.prompt))
            + usage.completion_tokens * Decimal(str(self.completion))
        ) / _MILLION


Prices = Mapping[str, Price]
"""Price of each model, by its name."""


def load_prices(path: Path | str) -> dict[str, Price]:
    """Read prices from a YAML file: ``{model: {prompt: 0.15, completion: 0.60}}``.

    Prices are per million tokens. The library contains none, as they become outdated.

    Raises
    ------
    BacktalkError
        If the file is not such a table.
    """
    import yaml  # noqa: PLC0415 - only needed for prices

    try:
        table = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        return TypeAdapter(dict[str, Price]).validate_python(table)
    except yaml.YAMLError as error:
        raise BacktalkError(f"{path} is not YAML: {error}") from None
    except ValidationError as error:
        raise BacktalkError(
            f"{path} is not a table of prices: {explain(error)}",
            "List for each model its price per million prompt and completion tokens",
        ) from None


@dataclass(frozen=True, slots=True)
class Cost:
    """Usage and money spent."""

    usage: Usage = field(default_factory=Usage)
    """Usage; its seconds are the sum over all calls, which may overlap."""
    money: Decimal = Decimal(0)

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.usage + other.usage, self.money + other.money)

    def __sub__(self, other: Cost) -> Cost:
        a, b = self.usage, other.usage
        return Cost(
            Usage(
                a.calls - b.calls,
                a.prompt_tokens - b.prompt_tokens,
                a.completion_tokens - b.completion_tokens,
                a.seconds - b.seconds,
            ),
            self.money - other.money,
        )
