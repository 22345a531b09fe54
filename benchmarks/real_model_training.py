"""DPO with LoRA on HH-RLHF, SmolLM2-135M-Instruct, against ``DPOTrainer`` of TRL.

Each side trains in a process of its own, in alternation, from the same weights on the same tokens,
with adapters of the same rank on the same layers, 32 pairs a step. TRL is tried with several batch
sizes first, and measured with the fastest. The log-probabilities of the reference are computed
beforehand on both sides, and their time is not counted. In float32, the first losses must be equal.

``backtalk models fetch smollm2`` brings the model.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.finetuning import time_training
from benchmarks.finetuning_data import FOLDER, Pair
from benchmarks.measure import BenchmarkResult, in_process

MODEL = "smollm2"
PAIRS = 64
STEP = 32
TRIAL = 16
"""Number of pairs that TRL's settings are tried on."""
MAX_TOKENS = 512
"""Maximum number of tokens of a prompt with a response."""
RANK = 16
RATE = 1e-4
BETA = 0.1
CLOSE = 1e-4
RUNS = 2
BATCHES = (1, 2, 4, 8)
"""Pairs in a batch of TRL."""
DTYPES = ("float32", "bfloat16")


def measure() -> list[BenchmarkResult]:
    """Measure seconds and peak memory, in float32 and with products in bfloat16."""
    return [result for dtype in DTYPES for result in _compare(dtype)]


def _compare(dtype: str) -> list[BenchmarkResult]:
    tried = {size: _run("theirs", dtype, TRIAL, size)["seconds"] for size in BATCHES}
    fastest = min(tried, key=tried.__getitem__)
    mine, peers = [], []
    for _ in range(RUNS):
        mine.append(_run("ours", dtype, PAIRS))
        peers.append(_run("theirs", dtype, PAIRS, fastest))
        difference = abs(mine[-1]["loss"] - peers[-1]["loss"])
        if dtype == "float32" and difference > CLOSE:  # bfloat16 rounds each side differently
            raise AssertionError(f"The first losses differ by {difference:.6f} in {dtype}")

    def median(runs: list[dict[str, float]], key: str) -> float:
        return statistics.median(run[key] for run in runs)

    name = f"DPO with LoRA, real model, {dtype}"
    what = f"{PAIRS} pairs of HH-RLHF, {STEP} a step, rank {RANK}; SmolLM2-135M-Instruct"
    peer = ("TRL DPOTrainer", version("trl"))
    ours, theirs = median(mine, "seconds"), median(peers, "seconds")
    tokens = mine[0]["tokens"]
    trials = ", ".join(f"{size} {seconds:.0f}" for size, seconds in tried.items())
    return [
        BenchmarkResult(
            name,
            what,
            *peer,
            "s",
            ours,
            theirs,
            RUNS,
            f"{theirs / ours:.1f} times as fast: {tokens / ours:,.0f} tokens of training data/s "
            f"against {tokens / theirs:,.0f}; first loss {mine[0]['loss']:.5f} and "
            f"{peers[0]['loss']:.5f}; TRL's pairs a batch, with their seconds on {TRIAL}: {trials}",
        ),
        BenchmarkResult(
            f"{name}: memory",
            what,
            *peer,
            "GB",
            median(mine, "peak_gb"),
            median(peers, "peak_gb"),
            RUNS,
            "peak of the process, with the libraries, the weights and the optimiser",
        ),
    ]


def _run(side: str, dtype: str, pairs: int, batch: int = 0) -> dict[str, float]:
    return in_process("benchmarks.real_model_training", side, dtype, str(pairs), str(batch))


def _pairs(tokenizer: Any, count: int) -> list[Pair]:
    """Return the first pairs of HH-RLHF that are short enough, written by the chat template."""
    from backtalk.feedback import Preference
    from backtalk.formats import RejectedRow, read

    def encode(text: str) -> tuple[int, ...]:
        return tuple(tokenizer.encode(text, add_special_tokens=False))

    def short() -> Any:
        for row in read(FOLDER / "hh_rlhf_harmless.jsonl.gz"):
            for case in () if isinstance(row, RejectedRow) else row.cases:
                (preference,) = case.of(Preference)
                chat = [message.to_dict() for message in case.interaction.prompt]
                prompt = encode(
                    tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
                )
                answers = [
                    encode(f"{case.text(id_)}{tokenizer.eos_token}")
                    for id_ in (preference.chosen, preference.rejected)
                ]
                if len(prompt) + max(map(len, answers)) <= MAX_TOKENS:
                    yield Pair(prompt, *answers)

    return list(islice(short(), count))


def ours(dtype: str, count: int, _: int) -> dict[str, float]:
    """Train with the project's own trainer.

    Parameters
    ----------
    dtype : {"float32", "bfloat16"}
        Number format of matrix products.
    count : int
        Number of pairs.
    _ : int
        Not used: the trainer chooses its micro-batches.
    """
    from backtalk.artifacts import Artifacts
    from backtalk.learn.finetune.config import TrainingConfig
    from backtalk.learn.finetune.objective import TrainingTask, get_objective
    from backtalk.learn.finetune.reference_logprobs import ReferenceLogProbs
    from backtalk.learn.finetune.trainable_model import load_trainable_model
    from backtalk.learn.finetune.trainer import Trainer, autocast_factory
    from backtalk.models import LocalSpec
    from backtalk.policy import Policy

    config = TrainingConfig(
        batch_size=STEP,
        learning_rate=RATE,
        lr_scheduler="constant",
        warmup_ratio=0.0,
        adapter="lora",
        lora_rank=RANK,
        dtype="bfloat16" if dtype == "bfloat16" else "float32",
    )
    with tempfile.TemporaryDirectory() as folder:
        policy = Policy(model=LocalSpec(model=MODEL))
        model = load_trainable_model(policy, Artifacts(Path(folder)), config, seed=0)
        pairs = _pairs(model.engine.tokenizer, count)
        trees = [pair.tree for pair in pairs]
        model.round_frozen_weights(policy.model, config)
        reference = ReferenceLogProbs(None, "reference")
        reference.compute(
            model.logprob_model,
            trees,
            batch_tokens=config.micro_batch_tokens(model.logprob_model.model),
            context=autocast_factory(model.logprob_model, config),
            report=lambda _: None,
        )
        task = TrainingTask("pairs", get_objective("dpo").bind(beta=BETA), trees)
        trainer = Trainer(model.logprob_model, [task], config, reference=reference)
        begin = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - begin
    return {
        "seconds": seconds,
        "loss": trainer.history[0]["loss"],
        "tokens": sum(pair.tokens for pair in pairs),
    }


def theirs(dtype: str, count: int, batch: int) -> dict[str, float]:
    """Train with TRL, with the reference's log-probabilities computed beforehand.

    Parameters
    ----------
    dtype : {"float32", "bfloat16"}
        Number format of matrix products.
    count : int
        Number of pairs.
    batch : int
        Number of pairs in a batch.
    """
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_DISABLE_PROGRESS_BARS="1")
    import datasets
    import torch
    import transformers
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    from backtalk.learn.finetune.adapters import select_weights
    from backtalk.models.fetched import find_model

    datasets.disable_progress_bars()
    transformers.utils.logging.set_verbosity_error()

    class PretokenisedDPOTrainer(DPOTrainer):
        """DPO trainer for a dataset of tokens."""

        def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
            return dataset

    folder = find_model(MODEL)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pairs = _pairs(tokenizer, count)
    rows = [
        {
            "prompt_ids": list(pair.prompt),
            "chosen_ids": list(pair.chosen),
            "rejected_ids": list(pair.rejected),
            "length": len(pair.prompt) + max(len(pair.chosen), len(pair.rejected)),
        }
        for pair in pairs
    ]
    network = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    layers = select_weights(network).layers
    lora = LoraConfig(
        r=RANK, lora_alpha=2 * RANK, target_modules=layers, lora_dropout=0.0, task_type="CAUSAL_LM"
    )
    step = min(STEP, count)
    with tempfile.TemporaryDirectory() as output:
        trainer = PretokenisedDPOTrainer(
            get_peft_model(network, lora),
            None,
            DPOConfig(
                output_dir=output,
                per_device_train_batch_size=batch,
                gradient_accumulation_steps=max(step // batch, 1),
                num_train_epochs=1,
                learning_rate=RATE,
                lr_scheduler_type="constant",
                train_sampling_strategy="group_by_length",
                gradient_checkpointing=False,
                bf16=dtype == "bfloat16",
                use_cpu=True,
                max_grad_norm=1.0,
                weight_decay=0.0,
                dataloader_pin_memory=False,
                report_to="none",
                save_strategy="no",
                disable_tqdm=True,
                logging_steps=1,
                beta=BETA,
                max_length=None,
                precompute_ref_log_probs=True,
                remove_unused_columns=False,
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
        )
        few = [trainer.train_dataset[index] for index in range(min(4, count))]
        with torch.no_grad(), trainer.compute_loss_context_manager():
            loss = float(trainer.compute_loss(trainer.model, trainer.data_collator(few)))
        seconds = time_training(trainer)
    return {"seconds": seconds, "loss": loss, "tokens": sum(pair.tokens for pair in pairs)}


SIDES: dict[str, Callable[[str, int, int], dict[str, float]]] = {"ours": ours, "theirs": theirs}


def main() -> None:
    """Run one side and print its measurements."""
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    side, dtype, pairs, batch = sys.argv[1:5]
    result = SIDES[side](dtype, int(pairs), int(batch))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
    sys.stdout.write(json.dumps({**result, "peak_gb": peak}) + "\n")


if __name__ == "__main__":
    main()
