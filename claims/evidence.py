"""The page that says what was found: ``docs/EVIDENCE.md`` and ``docs/evidence.json``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backtalk.stats import Estimate
from claims.claim import Claim, Expected, Status
from claims.running import Measured, kept
from claims.systems import systems

DOCS = Path(__file__).parent.parent / "docs"

HEAD = """# Evidence

What the papers say, and what came out here. Each claim is a program in `claims/`; `make claims`
measures what has not been measured yet and rewrites this page. A figure is the mean over seeds with
its 95 % interval. The first figure of a claim is the paper's main result. A claim *holds* where
every figure has the direction and the size that it should, *partly* where the first has its
direction and not all is as it should be; else it *fails*, and is listed all the same: the result
was not reproduced, or not shown, by so many runs. A sandbox world is evidence about the method's
implementation; real data are named where they were used.

"""


@dataclass(frozen=True)
class Evidence:
    """A claim with what was found."""

    claim: Claim
    runs: tuple[Measured, ...]

    @property
    def errors(self) -> list[str]:
        """The last line of each run that broke."""
        return [run.error.strip().splitlines()[-1] for run in self.runs if run.error]

    @property
    def complete(self) -> bool:
        """Whether every seed was measured."""
        return len(self.runs) == self.claim.seeds

    @property
    def found(self) -> dict[str, Estimate]:
        """Each figure with its interval; empty until every seed was measured."""
        if not self.complete or self.errors:
            return {}
        return self.claim.estimates([run.figures for run in self.runs])

    @property
    def status(self) -> Status:
        """What the claim's figures say."""
        if self.errors:
            return "fails"
        return self.claim.status(self.found) if self.complete else "not yet"

    @property
    def seconds(self) -> float:
        """How long all runs took together."""
        return sum(run.seconds for run in self.runs)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, ready for JSON."""
        claim = self.claim
        return {
            "claim": claim.name,
            "system": claim.system,
            "family": claim.family,
            "paper": claim.paper,
            "method": claim.method,
            "says": claim.says,
            "status": self.status,
            "data": f"sandbox: {claim.world}" if claim.world else "real",
            "seeds": claim.seeds,
            "seconds": round(self.seconds, 1),
            "errors": self.errors,
            "figures": [
                {"what": item.what, "paper": item.paper, **self.found[item.name].to_dict()}
                for item in claim.expected
                if item.name in self.found
            ],
        }


def write(claims: Iterable[Claim]) -> list[Evidence]:
    """Write both files from all that was measured, and return it."""
    results = [Evidence(claim, tuple(kept(claim))) for claim in claims]
    missing = _without_claims(results)
    (DOCS / "EVIDENCE.md").write_text(_page(results, missing), encoding="utf-8")
    numbers = {
        "claims": [item.to_dict() for item in results],
        "not yet": [
            {"system": system.system, "family": system.family, "paper": system.title}
            for system in missing
        ],
    }
    (DOCS / "evidence.json").write_text(
        json.dumps(numbers, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    return results


def _without_claims(found: Sequence[Evidence]) -> list[Any]:
    measured = {item.claim.system for item in found}
    return [system for system in systems() if system.tier == "A" and system.system not in measured]


def _page(found: Sequence[Evidence], missing: Sequence[Any]) -> str:
    counts = {
        status: sum(item.status == status for item in found)
        for status in ("holds", "partly", "fails", "not yet")
    }
    summary = ", ".join(f"{count} {status}" for status, count in counts.items())
    rows = "".join(_row(item) for item in found)
    details = "".join(_details(item) for item in found)
    waiting: dict[str, list[str]] = {}
    for system in missing:
        waiting.setdefault(system.family, []).append(system.system)
    listed = "".join(
        f"- **{family}** ({len(names)}): {'; '.join(names)}\n"
        for family, names in sorted(waiting.items())
    )
    return (
        f"{HEAD}{len(found)} claims: {summary}.\n\n"
        "| claim | system | family | status | data | seeds | seconds |\n"
        f"|---|---|---|---|---|---|---|\n{rows}\n{details}"
        f"## Not yet\n\n{len(missing)} systems have no claim yet, by family.\n\n{listed}"
    )


def _row(item: Evidence) -> str:
    claim = item.claim
    where = f"sandbox: {claim.world}" if claim.world else "real"
    cells = (
        f"[{claim.name}](#{claim.name})",
        claim.system,
        claim.family,
        f"**{item.status}**",
        where,
        claim.seeds,
        f"{item.seconds:.0f}",
    )
    return f"| {' | '.join(map(str, cells))} |\n"


def _details(item: Evidence) -> str:
    claim = item.claim
    rows = "".join(_figure(expected, item.found.get(expected.name)) for expected in claim.expected)
    broken = "".join(f"\nA run broke: `{error}`\n" for error in item.errors)
    return (
        f"## {claim.name}\n\n{claim.says} {claim.paper}. Method: `{claim.method}`.\n\n"
        "| figure | measured | wanted | paper | |\n|---|---|---|---|---|\n"
        f"{rows}{broken}\n"
    )


def _figure(expected: Expected, found: Estimate | None) -> str:
    if found is None:
        measured, mark = "not measured", ""
    else:
        measured = f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
        as_said = expected.direction_holds(found) and expected.size_holds(found)
        mark = "as said" if as_said else "**not as said**"
    cells = (expected.what, measured, _wanted(expected), expected.paper or "-", mark)
    return f"| {' | '.join(cells)} |\n"


def _wanted(expected: Expected) -> str:
    parts = []
    if expected.above is not None:
        parts.append(f"interval above {expected.above:g}")
    if expected.below is not None:
        parts.append(f"interval below {expected.below:g}")
    if expected.size is not None:
        parts.append(f"{expected.size[0]:g} to {expected.size[1]:g}")
    return ", ".join(parts)
