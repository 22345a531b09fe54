"""DPO and SFT with LoRA on HH-RLHF, SmolLM2-135M-Instruct, against the trainers of TRL.

Each side trains in a process of its own, in alternation, from the same weights on the same tokens,
with adapters of the same rank on the same layers, 32 pairs or answers a step. TRL is tried with
several batch sizes first, and measured with the fastest; for SFT it packs its rows. The
log-probabilities of DPO's reference are computed beforehand on both sides, and their time is not
counted. In float32, the first losses must be equal.

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
from collections.abc import Sequence
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.finetuning import time_training
from benchmarks.finetuning_data import FOLDER, Pair
from benchmarks.measure import BenchmarkResult, in_process

MODEL = "smollm2"
PAIRS = 32
STEP = 32
TRIAL = 16
"""Number of pairs that TRL's settings are tried on."""
TASKS = ("dpo", "sft")
TRAINERS = {"dpo": "DPOTrainer", "sft": "SFTTrainer"}
MAX_TOKENS = 512
"""Maximum number of tokens of a prompt with a response."""
RANK = 16
RATE = 1e-4
BETA = 0.1
CLOSE = 1e-4
RUNS = 2
BATCHES = {"dpo": (1, 2, 4), "sft": (512, 1024, 2048)}
"""Pairs in a batch of TRL, or tokens of its packed row."""
DTYPES = ("float32", "bfloat16")


def measure() -> list[BenchmarkResult]:
    """Measure seconds and peak memory, in float32 and with products in bfloat16."""
    return [result for task in TASKS for dtype in DTYPES for result in _compare(task, dtype)]


def _compare(task: str, dtype: str) -> list[BenchmarkResult]:
    tried = {
        size: _run("theirs", task, dtype, TRIAL, batch=size)["seconds"] for size in BATCHES[task]
    }
    fastest = min(tried, key=tried.__getitem__)
    mine: list[dict[str, Any]] = []
    peers: list[dict[str, Any]] = []
    for _ in range(RUNS):
        mine.append(_run("ours", task, dtype, PAIRS))
        peers.append(_run("theirs", task, dtype, PAIRS, batch=fastest, first=mine[-1]["first"]))
        difference = abs(mine[-1]["loss"] - peers[-1]["loss"])
        if dtype == "float32" and difference > CLOSE:  # bfloat16 rounds each side differently
            raise AssertionError(f"The first losses differ by {difference:.6f} in {dtype}")

    def median(runs: list[dict[str, Any]], key: str) -> float:
        return statistics.median(run[key] for run in runs)

    name = f"{task.upper()} with LoRA, real model, {dtype}"
    items = "pairs" if task == "dpo" else "answers"
    what = f"{PAIRS} {items} of HH-RLHF, {STEP} a step, rank {RANK}; SmolLM2-135M-Instruct"
    peer = (f"TRL {TRAINERS[task]}", version("trl"))
    ours, theirs = median(mine, "seconds"), median(peers, "seconds")
    tokens = mine[0]["tokens"]
    sizes = "pairs a batch" if task == "dpo" else "tokens of a packed row"
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
            f"{peers[0]['loss']:.5f}; TRL's {sizes}, with their seconds on {TRIAL}: {trials}",
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


def _run(
    side: str, task: str, dtype: str, pairs: int, *, batch: int = 0, first: Sequence[int] = ()
) -> dict[str, Any]:
    arguments = (side, task, dtype, str(pairs), str(batch), json.dumps(list(first)))
    return in_process("benchmarks.real_model_training", *arguments)


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


def _num_tokens(task: str, pairs: list[Pair]) -> int:
    """Return the number of tokens of the training data."""
    return sum(
        pair.tokens if task == "dpo" else len(pair.prompt) + len(pair.chosen) for pair in pairs
    )


def ours(task: str, dtype: str, count: int) -> dict[str, Any]:
    """Train with the project's own trainer.

    Parameters
    ----------
    task : {"dpo", "sft"}
        Objective.
    dtype : {"float32", "bfloat16"}
        Number format of matrix products.
    count : int
        Number of pairs.
    """
    from backtalk.artifacts import Artifacts
    from backtalk.learn.finetune.config import TrainingConfig
    from backtalk.learn.finetune.objective import TrainingTask, get_objective
    from backtalk.learn.finetune.reference_logprobs import ReferenceLogProbs
    from backtalk.learn.finetune.trainable_model import load_trainable_model
    from backtalk.learn.finetune.trainer import Trainer, autocast_factory
    from backtalk.learn.finetune.trees import PromptTree, ResponseTokens
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
        model.round_frozen_weights(policy.model, config)
        reference = None
        if task == "dpo":
            trees = [pair.tree for pair in pairs]
            objective = get_objective("dpo").bind(beta=BETA)
            reference = ReferenceLogProbs(None, "reference")
            reference.compute(
                model.logprob_model,
                trees,
                batch_tokens=config.micro_batch_tokens(model.logprob_model.model),
                context=autocast_factory(model.logprob_model, config),
                report=lambda _: None,
            )
        else:
            trees = [PromptTree(pair.prompt, (ResponseTokens(pair.chosen),)) for pair in pairs]
            objective = get_objective("sft").bind()
        data = TrainingTask("data", objective, trees)
        trainer = Trainer(model.logprob_model, [data], config, reference=reference)
        first = {id(tree) for _, tree in trainer.batch(0)}
        begin = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - begin
    return {
        "seconds": seconds,
        "loss": trainer.history[0]["loss"],
        "tokens": _num_tokens(task, pairs),
        "first": [index for index, tree in enumerate(trees) if id(tree) in first],
    }


def theirs(
    task: str, dtype: str, count: int, batch: int, first: Sequence[int] = ()
) -> dict[str, Any]:
    """Train with TRL.

    Parameters
    ----------
    task : {"dpo", "sft"}
        Objective. DPO has the log-probabilities of the reference computed beforehand.
    dtype : {"float32", "bfloat16"}
        Number format of matrix products.
    count : int
        Number of pairs.
    batch : int
        Number of pairs in a batch of DPO, of tokens in a packed row of SFT.
    first : sequence of int, default ()
        Indices of the answers whose loss before training is returned for SFT.
    """
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_DISABLE_PROGRESS_BARS="1")
    import datasets
    import transformers
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from backtalk.learn.finetune.adapters import select_weights
    from backtalk.models.fetched import find_model

    datasets.disable_progress_bars()
    transformers.utils.logging.set_verbosity_error()
    folder = find_model(MODEL)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pairs = _pairs(tokenizer, count)
    network = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    layers = select_weights(network).layers
    lora = LoraConfig(
        r=RANK, lora_alpha=2 * RANK, target_modules=layers, lora_dropout=0.0, task_type="CAUSAL_LM"
    )
    model = get_peft_model(network, lora)
    with tempfile.TemporaryDirectory() as output:
        if task == "dpo":
            trainer, loss = _dpo_trainer(
                model, tokenizer, pairs, dtype=dtype, batch=batch, output=output
            )
        else:
            trainer, loss = _sft_trainer(
                model, tokenizer, pairs, dtype=dtype, length=batch, output=output, first=first
            )
        seconds = time_training(trainer)
    return {"seconds": seconds, "loss": loss, "tokens": _num_tokens(task, pairs)}


def _settings(dtype: str, output: str, rows: int, accumulated: int) -> dict[str, Any]:
    return {
        "output_dir": output,
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": accumulated,
        "num_train_epochs": 1,
        "learning_rate": RATE,
        "lr_scheduler_type": "constant",
        "gradient_checkpointing": False,
        "bf16": dtype == "bfloat16",
        "use_cpu": True,
        "max_grad_norm": 1.0,
        "weight_decay": 0.0,
        "dataloader_pin_memory": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "logging_steps": 1,
    }


def _dpo_trainer(
    model: Any, tokenizer: Any, pairs: Sequence[Pair], *, dtype: str, batch: int, output: str
) -> tuple[Any, float]:
    """Return the trainer for pairs, and its loss before training."""
    import torch
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    class PretokenisedDPOTrainer(DPOTrainer):
        """DPO trainer for a dataset of tokens."""

        def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
            return dataset

    rows = [
        {
            "prompt_ids": list(pair.prompt),
            "chosen_ids": list(pair.chosen),
            "rejected_ids": list(pair.rejected),
            "length": len(pair.prompt) + max(len(pair.chosen), len(pair.rejected)),
        }
        for pair in pairs
    ]
    step = min(STEP, len(pairs))
    trainer = PretokenisedDPOTrainer(
        model,
        None,
        DPOConfig(
            **_settings(dtype, output, batch, max(step // batch, 1)),
            train_sampling_strategy="group_by_length",
            beta=BETA,
            max_length=None,
            precompute_ref_log_probs=True,
            remove_unused_columns=False,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    few = [trainer.train_dataset[index] for index in range(min(4, len(pairs)))]
    with torch.no_grad(), trainer.compute_loss_context_manager():
        loss = trainer.compute_loss(trainer.model, trainer.data_collator(few)).item()
    return trainer, loss


def _sft_trainer(
    model: Any,
    tokenizer: Any,
    pairs: Sequence[Pair],
    *,
    dtype: str,
    length: int,
    output: str,
    first: Sequence[int],
) -> tuple[Any, float]:
    """Return the trainer for packed answers, and its loss on some of them before training."""
    import torch
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer, pack_dataset

    data = Dataset.from_list(
        [
            {
                "input_ids": [*pair.prompt, *pair.chosen],
                "labels": [-100] * len(pair.prompt) + [*pair.chosen],
            }
            for pair in pairs
        ]
    )
    per_row = len(data) / len(pack_dataset(data, length, "bfd"))
    step = min(STEP, len(pairs))
    trainer = SFTTrainer(
        model,
        SFTConfig(
            **_settings(dtype, output, 1, max(round(step / per_row), 1)),
            max_length=length,
            packing=True,
            packing_strategy="bfd",
        ),
        train_dataset=data,
        processing_class=tokenizer,
    )
    loss = 0.0
    if first:
        packed = [
            trainer.data_collator([row]) for row in pack_dataset(data.select(first), length, "bfd")
        ]
        learned = sum(int((row["labels"] != -100).sum()) for row in packed)
        with torch.no_grad(), trainer.compute_loss_context_manager():
            loss = sum(
                trainer.compute_loss(trainer.model, row, num_items_in_batch=learned).item()
                for row in packed
            )
    return trainer, loss


def main() -> None:
    """Run one side and print its measurements."""
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    side, task, dtype, pairs, batch, *rest = sys.argv[1:]
    if side == "ours":
        result = ours(task, dtype, int(pairs))
    else:
        first = json.loads(rest[0]) if rest else ()
        result = theirs(task, dtype, int(pairs), int(batch), first)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
    sys.stdout.write(json.dumps({**result, "peak_gb": peak}) + "\n")


if __name__ == "__main__":
    main()
