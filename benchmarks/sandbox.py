"""The skills of the small models: ``python -m benchmarks.sandbox [WORLD ...]``.

Writes ``docs/sandbox.json``, the curves ``docs/sandbox.png``, and the tables of the page.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

from backtalk.models.run_sync import run_sync
from backtalk.stats import mean_interval
from backtalk.worlds import find_world, worlds
from backtalk.worlds.skill_eval import SkillEvaluator, SkillScores
from backtalk.worlds.small import folder_of, small_model

DOCS = Path(__file__).parent.parent / "docs"
PROMPTS = 200
BEGIN, END = "<!-- figures: python -m benchmarks.sandbox -->", "<!-- end of figures -->"


def measured(world: str) -> dict[str, Any]:
    """Return how a world's model was made, and how well it does everything."""
    probes = run_sync(SkillEvaluator(find_world(world), small_model(world), count=PROMPTS).probe())
    made = json.loads((folder_of(world) / "training.json").read_text())
    return {**made, "skills": [_numbers(probe) for probe in probes]}


def _numbers(probe: SkillScores) -> dict[str, Any]:
    return {
        "skill": probe.skill,
        "score": mean_interval(probe.score).to_dict(),
        "without": {
            name: mean_interval(values).to_dict() for name, values in probe.without.items()
        },
        "random": probe.random,
        "best": probe.best,
    }


def table(world: str, found: dict[str, Any]) -> str:
    """Return the figures of one world as Markdown."""
    rows = []
    for item in found["skills"]:
        without = item["without"]
        cells = [
            item["skill"],
            _interval(item["score"]),
            _interval(without["blanked"]) if "blanked" in without else "",
            _interval(without["swapped"]) if "swapped" in without else "",
            f"{item['random']:.2f}",
            f"{item['best']:.0f}",
        ]
        rows.append(f"| {' | '.join(cells)} |\n")
    recipe = found["recipe"]
    return (
        f"### {world}\n\n"
        f"{found['parameters'] / 1e6:.2f} M parameters; {recipe['tokens'] / 1e6:.0f} M tokens read "
        f"in {found['seconds'] / 60:.0f} minutes; loss at the end {_loss(found):.3f} nats a token."
        "\n\n"
        "| skill | score | text blanked | another's text | random | best |\n"
        f"|---|---|---|---|---|---|\n{''.join(rows)}\n"
    )


def _loss(found: dict[str, Any]) -> float:
    """Return the mean loss over the last tenth of the training."""
    last = [loss for tokens, loss in found["curve"] if tokens > 0.9 * found["recipe"]["tokens"]]
    return sum(last) / len(last)


def _interval(found: dict[str, Any]) -> str:
    return f"{found['value']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw the loss of each model against the tokens it had read."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
    for world, made in found.items():
        tokens, losses = zip(*made["curve"][:-1], strict=True)
        axes.plot([count / 1e6 for count in tokens], losses, label=world)
    axes.set(xlabel="millions of tokens read", ylabel="loss, nats a token learned", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


def write(found: dict[str, Any]) -> None:
    """Write the figures of all worlds measured so far, the curves and the page."""
    (DOCS / "sandbox.json").write_text(json.dumps(found, indent=1) + "\n")
    draw(found, DOCS / "sandbox.png")
    page = (DOCS / "sandbox.md").read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    tables = "".join(table(world, made) for world, made in found.items())
    (DOCS / "sandbox.md").write_text(f"{before}{BEGIN}\n\n{tables}{END}{after}")


def main() -> None:
    """Measure the worlds named, or all, and write what was found after each."""
    result = json.loads((DOCS / "sandbox.json").read_text())
    for world in sys.argv[1:] or worlds():
        result[world] = measured(world)
        print(table(world, result[world]), flush=True)
        write(result)


if __name__ == "__main__":
    main()
