"""Sampling from the small mail model, compared with ``generate`` of transformers.

Each side runs in its own process, in alternation, as two thread pools in one process slow each
other down.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from backtalk.models import LocalModel, Request, Sampling
from backtalk.models.run_sync import run_sync
from backtalk.worlds import get_world
from backtalk.worlds.small import small_model_folder
from benchmarks.measure import BenchmarkResult, in_process

ROWS = 64
SAMPLES = 8
PROMPTS = 64
RUNS = 5
WORLD = get_world("mail")
SAMPLING = Sampling(max_tokens=WORLD.max_tokens)
LONGEST_PROMPT = 64


def measure() -> list[BenchmarkResult]:
    """Measure eight samples per prompt, 64 rows at a time, by the time per sampled token."""
    pairs = [
        [in_process("benchmarks.sampling", side, str(seed))["seconds"] for side in SIDES]
        for seed in range(RUNS)
    ]
    mine, peers = (statistics.median(column) for column in zip(*pairs, strict=True))
    return [
        BenchmarkResult(
            "sample",
            f"{PROMPTS} prompts, {SAMPLES} samples each, {ROWS} rows at once; 10,000 tokens",
            "transformers",
            version("transformers"),
            "s",
            mine,
            peers,
            RUNS,
            f"the small mail model; {10_000 / mine:,.0f} tokens/s against {10_000 / peers:,.0f}",
        )
    ]


def ours() -> Callable[[int], int]:
    """Return a function that samples with our local model and counts the tokens."""
    model = LocalModel(
        str(small_model_folder("mail")), batch_tokens=ROWS * (LONGEST_PROMPT + WORLD.max_tokens)
    )
    prompts = WORLD.prompts("held-out", PROMPTS)

    def sample(seed: int) -> int:
        requests = [
            Request(messages=prompt, sampling=SAMPLING, sample_index=i, seed=seed)
            for prompt in prompts
            for i in range(SAMPLES)
        ]
        completions = run_sync(model.generate(requests))
        return sum(completion.usage.completion_tokens for completion in completions)

    return sample


def theirs() -> Callable[[int], int]:
    """Return a function that samples with ``generate``, with as many rows at a time."""
    folder = str(small_model_folder("mail"))
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    network = AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()
    prompts = WORLD.prompts("held-out", PROMPTS)
    chats = [[message.to_dict() for message in prompt] for prompt in prompts]

    def sample(seed: int) -> int:
        torch.manual_seed(seed)
        num_tokens = 0
        for start in range(0, PROMPTS, ROWS // SAMPLES):
            inputs = tokenizer.apply_chat_template(
                chats[start : start + ROWS // SAMPLES],
                add_generation_prompt=True,
                padding=True,
                return_tensors="pt",
                return_dict=True,
            )
            with torch.inference_mode():
                result = network.generate(
                    **inputs,
                    do_sample=True,
                    top_k=0,
                    num_return_sequences=SAMPLES,
                    max_new_tokens=WORLD.max_tokens,
                )
            new = result[:, inputs["input_ids"].shape[1] :]
            ended = (new == tokenizer.eos_token_id).cumsum(dim=1)
            num_tokens += int((ended == 0).sum() + (ended > 0).any(dim=1).sum())
        return num_tokens

    return sample


SIDES = {"ours": ours, "theirs": theirs}


def main() -> None:
    """Time one side, after a warm-up round."""
    side, seed = SIDES[sys.argv[1]], int(sys.argv[2])
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    sample = side()
    sample(1_000 + seed)
    begin = time.perf_counter()
    num_tokens = sample(seed)
    print(json.dumps({"seconds": 10_000 * (time.perf_counter() - begin) / num_tokens}))


if __name__ == "__main__":
    main()
