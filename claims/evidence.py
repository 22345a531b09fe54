"""Writer of the evidence: ``docs/EVIDENCE.md`` and ``docs/evidence.json``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from backtalk.stats import Estimate
from claims.claim import Claim, Control, Expected, Status, advantage_key
from claims.running import Measured, read_measurements
from claims.systems import systems

_VERBS = {"holds": "holds", "partly": "holds partly", "fails": "fails"}
DOCS = Path(__file__).parent.parent / "docs"

HEAD = """# Evidence

Results of papers, and their reproduction by Backtalk. Each claim is a program in `claims/`;
`make claims` measures the claims that have not been measured yet and rewrites this page. A figure
is the mean over seeds with its 95 % interval. The first figure of a claim is the paper's main
result. A claim *holds* if every figure has the expected direction and size, and holds *partly* if
the first figure has its direction but not every figure agrees. Otherwise it *fails*: the result was
not reproduced, or not shown by this number of runs. Failures are listed too. A *control* is the
same figure without what the claim is about, from the same seeds: a figure agrees only if the
interval of its paired advantage over each of its controls lies above 0. Claims without controls
show that a figure is reached, not that the method's mechanism is the reason. *Confirmed* is the
status on as many other seeds, which are measured once, when nothing is changed any more. A sandbox
world is evidence about the implementation of a method; real data and real language models are named
where they are used.

"""


@dataclass(frozen=True)
class Evidence:
    """Claim with its measured runs, or with the results that were published before."""

    claim: Claim
    runs: tuple[Measured, ...]
    published: Mapping[str, Any] = field(default_factory=dict)
    """Entry of ``evidence.json``, which counts if there is no run in this checkout."""
    confirmation: tuple[Measured, ...] = ()
    """Runs of the confirmation seeds."""

    @property
    def errors(self) -> list[str]:
        """Last line of the traceback of each failed run."""
        if not self.runs:
            return list(self.published.get("errors", ()))
        return [run.error.strip().splitlines()[-1] for run in self.runs if run.error]

    @property
    def complete(self) -> bool:
        """True if every seed was measured."""
        if not self.runs:
            controls = {item.name for item in self.claim.controls}
            advantages = {advantage_key(item) for item in self.claim.controls}
            figures = {item.name for item in self.claim.expected}
            return figures | controls | advantages == {*self._published_estimates}
        return len(self.runs) == self.claim.seeds

    @property
    def estimates(self) -> dict[str, Estimate]:
        """Estimate of each figure; empty until every seed was measured."""
        if not self.complete or self.errors:
            return {}
        if not self.runs:
            return self._published_estimates
        return self.claim.estimates([run.figures for run in self.runs])

    @property
    def status(self) -> Status:
        """Status of the claim."""
        if self.errors:
            return "fails"
        return self.claim.status(self.estimates) if self.complete else "not yet"

    @property
    def seconds(self) -> float:
        """Total duration of the runs, in seconds."""
        if not self.runs:
            return float(self.published.get("seconds", 0))
        return sum(run.seconds for run in self.runs)

    @property
    def confirmed(self) -> dict[str, Any]:
        """Status and main figure on the confirmation seeds; empty until all are measured."""
        runs = self.confirmation
        if not runs:
            published: dict[str, Any] = self.published.get("confirmation", {})
            return published if self.complete else {}
        if len(runs) < self.claim.seeds:
            return {}
        if any(run.error for run in runs):
            return {"status": "fails"}
        estimates = self.claim.estimates([run.figures for run in runs])
        main = estimates[self.claim.expected[0].name]
        return {"status": self.claim.status(estimates), **main.to_dict()}

    @property
    def _published_estimates(self) -> dict[str, Estimate]:
        """Published estimates of the figures and controls that the claim still has."""
        names = {item.what: item.name for item in self.claim.expected}
        parameters = [parameter.name for parameter in fields(Estimate)]

        def read(entry: Mapping[str, Any]) -> Estimate:
            return Estimate(**{name: entry[name] for name in parameters})

        results = {
            names[figure["what"]]: read(figure)
            for figure in self.published.get("figures", ())
            if figure["what"] in names
        }
        controls = {(item.figure, item.what): item for item in self.claim.controls}
        for entry in self.published.get("controls", ()):
            control = controls.get((names.get(entry["figure"], ""), entry["what"]))
            if control is not None:
                results[control.name] = read(entry)
                results[advantage_key(control)] = read(entry["advantage"])
        return results

    def to_dict(self) -> dict[str, Any]:
        """Return the claim and its results, ready for JSON."""
        claim = self.claim
        figures = {item.name: item.what for item in claim.expected}
        return {
            "claim": claim.name,
            "system": claim.system,
            "family": claim.family,
            "paper": claim.paper,
            "method": claim.method,
            "says": claim.says,
            "status": self.status,
            "data": claim.data,
            "seeds": claim.seeds,
            "seconds": round(self.seconds, 1),
            "errors": self.errors,
            "confirmation": self.confirmed,
            "figures": [
                {"what": item.what, "paper": item.paper, **self.estimates[item.name].to_dict()}
                for item in claim.expected
                if item.name in self.estimates
            ],
            "controls": [
                {
                    "figure": figures[item.figure],
                    "what": item.what,
                    **self.estimates[item.name].to_dict(),
                    "advantage": self.estimates[advantage_key(item)].to_dict(),
                }
                for item in claim.controls
                if item.name in self.estimates
            ],
        }


def write(claims: Iterable[Claim]) -> list[Evidence]:
    """Write both files from the results that are stored, and return them.

    Claims that were not measured in this checkout keep the results that were published before.
    """
    previous = json.loads((DOCS / "evidence.json").read_text(encoding="utf-8"))["claims"]
    published = {entry["claim"]: entry for entry in previous}
    results = [
        Evidence(
            claim,
            tuple(read_measurements(claim)),
            published.get(claim.name, {}),
            tuple(read_measurements(claim, seeds=claim.confirmation_seeds)),
        )
        for claim in claims
    ]
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


def _without_claims(results: Sequence[Evidence]) -> list[Any]:
    measured = {item.claim.system for item in results}
    return [system for system in systems() if system.tier == "A" and system.system not in measured]


def _page(results: Sequence[Evidence], missing: Sequence[Any]) -> str:
    counts = {
        status: sum(item.status == status for item in results)
        for status in ("holds", "partly", "fails", "not yet")
    }
    summary = ", ".join(f"{count} {status}" for status, count in counts.items())
    rows = "".join(_row(item) for item in results)
    details = "".join(_details(item) for item in results)
    by_family: dict[str, list[str]] = {}
    for system in missing:
        by_family.setdefault(system.family, []).append(system.system)
    listed = "".join(
        f"- **{family}** ({len(names)}): {'; '.join(names)}\n"
        for family, names in sorted(by_family.items())
    )
    return (
        f"{HEAD}{len(results)} claims: {summary}.\n\n"
        "| claim | system | family | status | confirmed | controls | data | seeds | seconds |\n"
        f"|---|---|---|---|---|---|---|---|---|\n{rows}\n{_budget(results)}{details}"
        f"## Not yet\n\n{len(missing)} systems have no claim yet, by family.\n\n{listed}"
    )


def _budget(results: Sequence[Evidence]) -> str:
    """Return the table of what the claims on a real model cost."""
    rows = "".join(
        f"| [{item.claim.name}](#{item.claim.name}) | {item.claim.seeds} "
        f"| {item.seconds / item.claim.seeds / 60:.1f} | {item.seconds / 60:.0f} |\n"
        for item in results
        if item.claim.model and item.complete
    )
    if not rows:
        return ""
    return (
        "## Cost of the claims on a real model\n\n"
        "`make claims-real` measures them, outside CI, after `backtalk models fetch smollm2`. "
        "Minutes on two cores, in float32.\n\n"
        f"| claim | seeds | minutes per seed | minutes |\n|---|---|---|---|\n{rows}\n"
    )


def _row(item: Evidence) -> str:
    claim = item.claim
    cells = (
        f"[{claim.name}](#{claim.name})",
        claim.system,
        claim.family,
        f"**{item.status}**",
        item.confirmed.get("status", "-"),
        len(claim.controls),
        claim.data,
        claim.seeds,
        f"{item.seconds:.0f}",
    )
    return f"| {' | '.join(map(str, cells))} |\n"


def _details(item: Evidence) -> str:
    claim = item.claim
    estimates = item.estimates
    rows = "".join(
        _figure(expected, estimates.get(expected.name))
        + "".join(
            _control(control, estimates)
            for control in claim.controls
            if control.figure == expected.name
        )
        for expected in claim.expected
    )
    failures = "".join(f"\nA run failed: `{error}`\n" for error in item.errors)
    return (
        f"## {claim.name}\n\n{claim.says} {claim.paper}. Method: `{claim.method}`.\n\n"
        "| figure | measured | expected | paper | |\n|---|---|---|---|---|\n"
        f"{rows}{_confirmation(item)}{failures}\n"
    )


def _confirmation(item: Evidence) -> str:
    """Return the sentence about the confirmation seeds, if they were measured."""
    confirmed, seeds = item.confirmed, item.claim.confirmation_seeds
    if "value" not in confirmed:
        return ""
    interval = f"{confirmed['value']:.3f} [{confirmed['low']:.3f}, {confirmed['high']:.3f}]"
    verb = _VERBS[confirmed["status"]]
    return (
        f"\nOn seeds {seeds.start} to {seeds.stop - 1} the first figure is {interval}, and the "
        f"claim {verb}.\n"
    )


def _figure(expected: Expected, estimate: Estimate | None) -> str:
    if estimate is None:
        measured, mark = "not measured", ""
    else:
        measured = _interval(estimate)
        agrees = expected.direction_holds(estimate) and expected.size_holds(estimate)
        mark = "agrees" if agrees else "**differs**"
    cells = (expected.what, measured, _condition(expected), expected.paper or "-", mark)
    return f"| {' | '.join(cells)} |\n"


def _control(control: Control, estimates: Mapping[str, Estimate]) -> str:
    """Return the row of a control, below that of its figure."""
    measured, condition, mark = "not measured", "advantage above 0", ""
    if control.name in estimates:
        advantage = estimates[advantage_key(control)]
        measured = _interval(estimates[control.name])
        condition = f"advantage above 0: {_interval(advantage)}"
        mark = "surpassed" if advantage.low > 0 else "**not surpassed**"
    return f"| *control: {control.what}* | {measured} | {condition} | - | {mark} |\n"


def _interval(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _condition(expected: Expected) -> str:
    parts = []
    if expected.above is not None:
        parts.append(f"interval above {expected.above:g}")
    if expected.below is not None:
        parts.append(f"interval below {expected.below:g}")
    if expected.size is not None:
        parts.append(f"{expected.size[0]:g} to {expected.size[1]:g}")
    return ", ".join(parts)
