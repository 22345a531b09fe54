"""Command that tries every causal language model class of the installed transformers.

``python -m benchmarks.architectures`` makes a small random model of each model type, and measures
whether it loads, how it decodes, whether its answers are those of transformers' own forward pass,
and whether it trains, with all weights and with LoRA. Each model has a process of its own. Finished
models are read from the file of results, so that an interrupted run goes on where it was. At the
end the table in ``docs/models.md`` is written again. It is no part of the tests.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import logging

from benchmarks.architecture_trial import measure
from benchmarks.tiny_architectures import model_types

PAGE = Path(__file__).parent.parent / "docs" / "models.md"
RESULTS = Path("architectures.jsonl")
BEGIN, END = "<!-- architectures: begin -->", "<!-- architectures: end -->"
SECONDS = 180
MEMORY = 8 << 30
"""Limits of the process of one model: wall-clock time, and address space in bytes."""
COLUMNS = ("model type", "class", "loads", "decodes", "equal", "trains", "LoRA")


def main() -> None:
    """Measure the model types that have no result yet, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("types", nargs="*", help="model types; all by default")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file of results")
    parser.add_argument("--again", action="store_true", help="measure again what has a result")
    options = parser.parse_args()
    selected = options.types or model_types()
    results = _read(options.results)
    for i, model_type in enumerate(selected):
        if model_type in results and not options.again:
            continue
        results[model_type] = measure_apart(model_type)
        with options.results.open("a") as file:
            file.write(json.dumps(results[model_type]) + "\n")
        cells = " | ".join(str(results[model_type].get(name, "")) for name in COLUMNS)
        print(f"{i + 1}/{len(selected)} {cells}", flush=True)
    write_table([results[model_type] for model_type in sorted(results)])


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """Return the results by model type; later ones replace earlier ones."""
    lines = path.read_text().splitlines() if path.exists() else []
    results = [json.loads(line) for line in lines]
    installed = version("transformers")
    return {result["model type"]: result for result in results if result["version"] == installed}


def measure_apart(model_type: str) -> dict[str, Any]:
    """Measure a model type in a process of its own, a copy of this one."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure_in_limits, args=(model_type, sender))
    process.start()
    sender.close()
    result: dict[str, Any] = {"model type": model_type, "version": version("transformers")}
    if not receiver.poll(SECONDS):
        process.kill()
        result["loads"] = f"no end within {SECONDS} s"
    else:
        try:
            result |= receiver.recv()
        except EOFError:
            process.join()
            result["loads"] = f"the process ended with {process.exitcode}"
    process.join()
    return result


def _measure_in_limits(model_type: str, sender: Any) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.filterwarnings("ignore")
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    sender.send(measure(model_type))


def write_table(results: list[dict[str, Any]]) -> None:
    """Replace the table of the page."""
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for result in results:
        cells = (str(result.get(name, "")).replace("|", "/") for name in COLUMNS)
        lines.append(f"| {' | '.join(cells)} |")
    counts = {
        name: sum(str(result.get(name, "")).startswith("yes") for result in results)
        for name in ("loads", "equal", "trains", "LoRA")
    }
    refused = sum("refused" in str(result.get("decodes", "")) for result in results)
    note = (
        f"transformers {version('transformers')}, {len(results)} model types: "
        f"{counts['loads']} load, {counts['equal']} answer as their own forward pass does, "
        f"{refused} are refused, {counts['trains']} train, {counts['LoRA']} train with LoRA."
    )
    table = "\n".join(lines)
    PAGE.write_text(f"{before}{BEGIN}\n\n{note}\n\n{table}\n\n{END}{after}")


if __name__ == "__main__":
    main()
