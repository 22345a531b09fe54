"""The command that makes a small model: ``python -m backtalk.worlds.train WORLD``."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch

from backtalk.models.local.loading import quietly
from backtalk.worlds import find_world, worlds
from backtalk.worlds.small import folder_of
from backtalk.worlds.train.training import RECIPES, train


def main() -> None:
    """Train the model of a world and keep it in the package."""
    parser = argparse.ArgumentParser(
        prog="python -m backtalk.worlds.train", description=main.__doc__
    )
    parser.add_argument("world", choices=worlds())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tokens", type=int, help="how many it reads; as the package's by default")
    parser.add_argument("--into", type=Path, help="the folder to write, the package's by default")
    given = parser.parse_args()
    default = RECIPES[given.world]
    recipe = replace(default, seed=given.seed, tokens=given.tokens or default.tokens)

    def report(tokens: int, loss: float) -> None:
        print(f"{tokens:>12,} tokens  loss {loss:.4f}", flush=True)  # noqa: T201 - a command

    made = train(find_world(given.world), recipe, report=report)
    folder = given.into or folder_of(given.world)
    with quietly():
        made.model.to(torch.float16).save_pretrained(folder)
        made.tokenizer.save_pretrained(folder)
    (folder / "training.json").write_text(json.dumps(made.facts(), indent=1) + "\n")


main()
