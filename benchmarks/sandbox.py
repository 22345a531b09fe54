"""Skills of the small models: ``python -m benchmarks.sandbox [WORLD ...]``.

Writes ``docs/sandbox.json``, the loss curves ``docs/sandbox.png`` and the tables in
``docs/sandbox.md``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

from backtalk.models.run_sync import run_sync
from backtalk.stats import mean_interval
from backtalk.worlds import get_world, world_names
from backtalk.worlds.skill_eval import SkillEvaluator, SkillScores
from backtalk.worlds.small import small_model, small_model_folder

DOCS = Path(__file__).parent.parent / "docs"
PROMPTS = 200
BEGIN, END = "<!-- figures: python -m benchmarks.sandbox -->", "<!-- end of figures -->"


def measure(world: str) -> dict[str, Any]:
    """Return the training record and the skill scores of a world's model."""
    scores = run_sync(
        SkillEvaluator(get_world(world), small_model(world), count=PROMPTS).evaluate()
    )
    training = json.loads((small_model_folder(world) / "training.json").read_text())
    return {**training, "skills": [_to_dict(item) for item in scores]}


def _to_dict(scores: SkillScores) -> dict[str, Any]:
    return {
        "skill": scores.skill,
        "score": mean_interval(scores.score).to_dict(),
        "without": {
            name: mean_interval(values).to_dict() for name, values in scores.ablations.items()
        },
        "random": scores.baseline,
        "best": scores.best,
    }


def table(world: str, result: dict[str, Any]) -> str:
    """Return the figures of one world as Markdown."""
    rows = []
    for item in result["skills"]:
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
    recipe = result["recipe"]
    minutes = result["seconds"] / 60
    return (
        f"### {world}\n\n"
        f"{result['parameters'] / 1e6:.2f} M parameters, {recipe['tokens'] / 1e6:.0f} M training "
        f"tokens in {minutes:.0f} minutes, final loss {_loss(result):.3f} nats per token.\n\n"
        "| skill | score | text blanked | another's text | random | best |\n"
        f"|---|---|---|---|---|---|\n{''.join(rows)}\n"
    )


def _loss(result: dict[str, Any]) -> float:
    """Return the mean loss over the last tenth of the training."""
    last = [loss for tokens, loss in result["curve"] if tokens > 0.9 * result["recipe"]["tokens"]]
    return sum(last) / len(last)


def _interval(result: dict[str, Any]) -> str:
    return f"{result['value']:.2f} [{result['low']:.2f}, {result['high']:.2f}]"


def draw(results: dict[str, Any], path: Path) -> None:
    """Plot the loss of each model against its number of training tokens."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
    for world, record in results.items():
        tokens, losses = zip(*record["curve"][:-1], strict=True)
        axes.plot([count / 1e6 for count in tokens], losses, label=world)
    axes.set(
        xlabel="millions of training tokens", ylabel="loss in nats per target token", yscale="log"
    )
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


def write(results: dict[str, Any]) -> None:
    """Write the results of all worlds, the loss curves and the page."""
    (DOCS / "sandbox.json").write_text(json.dumps(results, indent=1) + "\n")
    draw(results, DOCS / "sandbox.png")
    page = (DOCS / "sandbox.md").read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    tables = "".join(table(world, record) for world, record in results.items())
    (DOCS / "sandbox.md").write_text(f"{before}{BEGIN}\n\n{tables}{END}{after}")


def main() -> None:
    """Measure the worlds named, or all, and write the results after each."""
    results = json.loads((DOCS / "sandbox.json").read_text())
    for world in sys.argv[1:] or world_names():
        results[world] = measure(world)
        print(table(world, results[world]), flush=True)
        write(results)


if __name__ == "__main__":
    main()
