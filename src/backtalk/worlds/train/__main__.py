"""Command to train a small model: ``python -m backtalk.worlds.train WORLD``."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch

from backtalk.models.local.loading import hide_progress_bars
from backtalk.worlds import get_world, world_names
from backtalk.worlds.small import small_model_folder
from backtalk.worlds.train.training import RECIPES, train


def main() -> None:
    """Train the model of a world and save it in the package."""
    parser = argparse.ArgumentParser(
        prog="python -m backtalk.worlds.train", description=main.__doc__
    )
    parser.add_argument("world", choices=world_names())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--tokens",
        type=int,
        help="number of training tokens; by default as for the model in the package",
    )
    parser.add_argument(
        "--into", type=Path, help="output folder; by default the folder in the package"
    )
    arguments = parser.parse_args()
    default = RECIPES[arguments.world]
    recipe = replace(default, seed=arguments.seed, tokens=arguments.tokens or default.tokens)

    def report(tokens: int, loss: float) -> None:
        print(f"{tokens:>12,} tokens  loss {loss:.4f}", flush=True)  # noqa: T201 - a command

    result = train(get_world(arguments.world), recipe, report=report)
    folder = arguments.into or small_model_folder(arguments.world)
    with hide_progress_bars():
        result.model.to(torch.float16).save_pretrained(folder)
        result.tokenizer.save_pretrained(folder)
    (folder / "training.json").write_text(json.dumps(result.to_dict(), indent=1) + "\n")


main()
