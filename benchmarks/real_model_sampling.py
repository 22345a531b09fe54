"""Sampling from SmolLM2-135M-Instruct, compared with ``generate`` of transformers and llama.cpp.

Eight answers to each of 16 prompts of HH-RLHF, at temperature 1, of at most 64 tokens each. Each
side runs in a process of its own, in alternation, with all cores and in float32. ``generate`` is
tried with several numbers of rows at a time first, and measured with the fastest. llama.cpp's
server computes with 4-bit weights and is shown for information.

``backtalk models fetch smollm2`` brings the model.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from backtalk.feedback.interaction import Prompt
from backtalk.formats import RejectedRow, read
from backtalk.models import LocalModel, Request, Sampling
from backtalk.models.fetched import fetch_model, find_model, get_catalogue_model
from backtalk.models.fetched.download import get_gguf
from backtalk.models.run_sync import run_sync
from benchmarks.finetuning_data import FOLDER
from benchmarks.measure import BenchmarkResult, in_process

MODEL = "smollm2"
PROMPTS = 16
ANSWERS = 8
SAMPLING = Sampling(max_tokens=64)
LONGEST = 600
"""Maximum number of characters of a prompt."""
ROWS = (16, 32, 64)
"""Numbers of rows at a time that ``generate`` is tried with."""
RUNS = 2
_CONTEXT, _SLOTS = 512, 16


def measure() -> list[BenchmarkResult]:
    """Measure the seconds for 1,000 sampled tokens."""
    fetch_model(MODEL)
    tried = {rows: _seconds("theirs", 0, rows) for rows in ROWS}
    fastest = min(tried, key=tried.__getitem__)
    runs = [
        (_seconds("ours", seed), _seconds("theirs", seed, fastest), _seconds("llama", seed))
        for seed in range(1, RUNS + 1)
    ]
    mine, peers, server = (statistics.median(column) for column in zip(*runs, strict=True))
    what = f"{PROMPTS} prompts, {ANSWERS} answers each; 1,000 tokens; SmolLM2-135M-Instruct"
    trials = ", ".join(f"{rows} rows {seconds:.1f}" for rows, seconds in tried.items())
    return [
        BenchmarkResult(
            "sample, real model",
            what,
            "transformers",
            version("transformers"),
            "s",
            mine,
            peers,
            RUNS,
            f"float32; {1_000 / mine:,.0f} tokens/s against {1_000 / peers:,.0f}; generate tried "
            f"with {trials} s",
        ),
        BenchmarkResult(
            "sample, real model: llama.cpp",
            what,
            "xllamacpp",
            version("xllamacpp"),
            "s",
            mine,
            server,
            RUNS,
            f"for information: llama.cpp's server, 4-bit weights, {_SLOTS} sequences at once; "
            f"{1_000 / mine:,.0f} tokens/s against {1_000 / server:,.0f}",
        ),
    ]


def _seconds(side: str, seed: int, rows: int = 0) -> float:
    command = ("benchmarks.real_model_sampling", side, str(seed), str(rows))
    return in_process(*command)["seconds"]


def prompts() -> list[Prompt]:
    """Return the first short prompts of HH-RLHF."""

    def short() -> Iterator[Prompt]:
        for row in read(FOLDER / "hh_rlhf_harmless.jsonl.gz"):
            if not isinstance(row, RejectedRow):
                for case in row.cases:
                    prompt = case.interaction.prompt
                    if sum(len(message.text) for message in prompt) <= LONGEST:
                        yield prompt

    return list(islice(short(), PROMPTS))


def ours(rows: int) -> Callable[[int], int]:
    """Return a function that samples with our local model and counts the tokens.

    Parameters
    ----------
    rows : int
        Not used: the model chooses its batches.
    """
    del rows
    model, chosen = LocalModel(MODEL, dtype="float32"), prompts()

    def sample(seed: int) -> int:
        requests = [
            Request(messages=prompt, sampling=SAMPLING, sample_index=i, seed=seed)
            for prompt in chosen
            for i in range(ANSWERS)
        ]
        completions = run_sync(model.generate(requests))
        return sum(completion.usage.completion_tokens for completion in completions)

    return sample


def theirs(rows: int) -> Callable[[int], int]:
    """Return a function that samples with ``generate``.

    Parameters
    ----------
    rows : int
        Number of rows at a time, a multiple of the number of answers.
    """
    folder = find_model(MODEL)
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    network = AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()
    chats = [[message.to_dict() for message in prompt] for prompt in prompts()]

    def sample(seed: int) -> int:
        torch.manual_seed(seed)
        num_tokens = 0
        for start in range(0, PROMPTS, rows // ANSWERS):
            inputs = tokenizer.apply_chat_template(
                chats[start : start + rows // ANSWERS],
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
                    num_return_sequences=ANSWERS,
                    max_new_tokens=SAMPLING.max_tokens,
                )
            new = result[:, inputs["input_ids"].shape[1] :]
            ended = (new == tokenizer.eos_token_id).cumsum(dim=1)
            num_tokens += int((ended == 0).sum() + (ended > 0).any(dim=1).sum())
        return num_tokens

    return sample


def llama(rows: int) -> Callable[[int], int]:
    """Return a function that samples with llama.cpp's server.

    Parameters
    ----------
    rows : int
        Not used: the server has a fixed number of slots.
    """
    del rows
    import tempfile

    import xllamacpp

    folder = tempfile.TemporaryDirectory()
    parameters: Any = xllamacpp.CommonParams()
    parameters.model.path = str(get_gguf(get_catalogue_model(MODEL), Path(folder.name)))
    parameters.n_ctx, parameters.n_parallel = _CONTEXT * _SLOTS, _SLOTS
    parameters.use_jinja, parameters.verbosity = True, 0
    threads = len(os.sched_getaffinity(0))
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
    server: Any = xllamacpp.Server(parameters)
    chats = [[message.to_dict() for message in prompt] for prompt in prompts()]

    def answer(request: tuple[int, list[dict[str, Any]]]) -> int:
        seed, chat = request
        body = server.handle_chat_completions(
            {
                "messages": chat,
                "temperature": 1,
                "top_k": 0,
                "top_p": 1,
                "min_p": 0,
                "max_tokens": SAMPLING.max_tokens,
                "seed": seed,
            }
        )
        body = json.loads(body) if isinstance(body, str) else body
        return int(body["usage"]["completion_tokens"])

    def sample(seed: int) -> int:
        requests = [(1_000 * seed + i, chat) for i in range(ANSWERS) for chat in chats]
        with ThreadPoolExecutor(_SLOTS) as pool:
            result = sum(pool.map(answer, requests))
        assert folder.name  # the file is mapped as long as the server runs
        return result

    return sample


SIDES = {"ours": ours, "theirs": theirs, "llama": llama}


def main() -> None:
    """Time one side, after a warm-up round."""
    side, seed, rows = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    sample = SIDES[side](rows)
    sample(1_000 + seed)
    begin = time.perf_counter()
    num_tokens = sample(seed)
    print(json.dumps({"seconds": 1_000 * (time.perf_counter() - begin) / num_tokens}))


if __name__ == "__main__":
    main()
