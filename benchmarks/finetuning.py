"""Benchmark of fine-tuning a small Llama on HH-RLHF, against the trainers of TRL.

Each side trains in a process of its own, alternately, from the same weights on the same tokens in
float32, with the same number of trees in a step. Both are tried with several settings first, and
measured with the fastest. The first losses must be equal on the same data.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.finetuning_data import (
    LAYERS,
    WIDTH,
    Pair,
    Ranking,
    pairs_in,
    rankings_in,
    write,
)
from benchmarks.measure import BenchmarkResult, in_process

RUNS = 3
RATE = 1e-4
BETA = 0.1
CLOSE = 1e-4
RESPONSES = 8
PROMPT = 256
LENGTHS = (32, 16, 64)
"""Numbers of tokens of the responses of lists; TRL is timed on the first."""


@dataclass(frozen=True)
class Job:
    """Training run of one side in one process."""

    side: str
    """``"ours"`` or ``"theirs"``."""
    data: str
    """``"pairs"``, ``"lists"``, ``"completions"`` or ``"texts"``."""
    items: int
    """Number of pairs, lists or texts."""
    step: int
    """Number of items in a step."""
    folder: str
    setting: Mapping[str, Any]
    """Settings of this side."""
    response: int = 0
    """Number of tokens of each response of a list."""
    first: tuple[int, ...] = ()
    """Indices of the items of our first step; the other side computes its loss on them."""


@dataclass(frozen=True)
class Comparison:
    """Comparison of the two sides on one job, each with its fastest settings."""

    name: str
    sized: str
    job: Job
    trial: int
    """Number of items that settings are tried on."""
    ours: Sequence[Mapping[str, Any]]
    theirs: Sequence[Mapping[str, Any]]
    """Empty if only our own variants are compared."""
    peer: str
    flat: bool = False
    """If true, ours is also compared with its own flat rows."""


def comparisons(folder: Path) -> list[Comparison]:
    """Return all comparisons."""
    budgets = [{"batch_tokens": tokens} for tokens in (1024, 2048, 4096)]
    model = f"a Llama of {LAYERS} layers, {WIDTH} wide"
    grouped = [{"pairs": pairs, "group": True} for pairs in (1, 2, 4, 8, 16)]
    plain = [{"pairs": pairs, "group": False} for pairs in (1, 2, 4, 7, 14, 28)]
    packed = [
        {"max_length": length, "rows": rows}
        for length, rows in ((1024, 1), (1024, 2), (1024, 4), (2048, 1))
    ]

    def job(data: str, items: int, step: int, response: int = 0) -> Job:
        return Job("", data, items, step, str(folder), {}, response)

    lists = [
        Comparison(
            f"DPO on lists of {RESPONSES}, responses of {response} tokens",
            f"4 prompts of {PROMPT} tokens, one step from all "
            f"{RESPONSES * (RESPONSES - 1) // 2} pairs of each list; {model}",
            job("lists", 4, 4, response),
            1,
            budgets,
            plain if response == LENGTHS[0] else (),
            "DPOTrainer",
            flat=True,
        )
        for response in LENGTHS
    ]
    texts = [
        Comparison(
            name,
            f"256 texts of HH-RLHF, 32 a step, {learned}; {model}",
            job(data, 256, 32),
            64,
            budgets,
            packed,
            "SFTTrainer",
        )
        for name, data, learned in (
            ("SFT, packed", "completions", "loss on the responses"),
            ("SFT, packed, every token learned", "texts", "loss on prompts too"),
        )
    ]
    pairs = Comparison(
        "DPO",
        f"256 pairs of HH-RLHF, 32 a step; {model}",
        job("pairs", 256, 32),
        64,
        budgets,
        [*grouped, {"pairs": 2, "group": False}],
        "DPOTrainer",
    )
    return [pairs, *lists, *texts]


def measure() -> list[BenchmarkResult]:
    """Measure the seconds and the peak memory of all comparisons."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder)
        return [result for comparison in comparisons(folder) for result in compare(comparison)]


def compare(comparison: Comparison) -> list[BenchmarkResult]:
    """Return the seconds and the memory of one comparison."""
    trials = {"ours": _try_settings(comparison, "ours", comparison.ours)}
    if comparison.theirs:
        trials["theirs"] = _try_settings(comparison, "theirs", comparison.theirs)
    jobs = {
        side: replace(
            comparison.job, side=side, setting=json.loads(min(results, key=results.__getitem__))
        )
        for side, results in trials.items()
    }
    if comparison.flat:
        setting = {**jobs["ours"].setting, "share": False}
        jobs["flat"] = replace(jobs["ours"], setting=setting)
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in jobs}
    for _ in range(RUNS):
        ours = run(jobs["ours"])
        runs["ours"].append(ours)
        for side, job in jobs.items():
            if side != "ours":
                other = run(replace(job, first=tuple(ours["first"])))
                runs[side].append(other)
                _check(comparison.name, ours["loss"], other["loss"])

    def median(side: str, key: str) -> float:
        return statistics.median(results[key] for results in runs[side])

    tokens, mine = runs["ours"][0]["tokens"], median("ours", "seconds")
    results = []
    if comparison.theirs:
        peers, peer = median("theirs", "seconds"), (f"TRL {comparison.peer}", version("trl"))
        choices = "; ".join(
            f"{side}: {_format_trials(settings)}" for side, settings in trials.items()
        )
        results = [
            BenchmarkResult(
                comparison.name,
                comparison.sized,
                *peer,
                "s",
                mine,
                peers,
                RUNS,
                f"{peers / mine:.1f} times as fast: {tokens / mine:,.0f} tokens of training data/s "
                f"against {tokens / peers:,.0f}; first loss {ours['loss']:.5f} on both; settings "
                f"tried, with their seconds on {comparison.trial}: {choices}",
            ),
            BenchmarkResult(
                f"{comparison.name}: memory",
                comparison.sized,
                *peer,
                "GB",
                median("ours", "own_gb"),
                median("theirs", "own_gb"),
                RUNS,
                "the process's peak beyond what it was with model and data loaded; all together "
                f"{median('ours', 'peak_gb'):.2f} GB against {median('theirs', 'peak_gb'):.2f}",
            ),
        ]
    if comparison.flat:
        flat = median("flat", "seconds")
        results.append(
            BenchmarkResult(
                f"{comparison.name}: trees, against flat rows",
                comparison.sized,
                "Backtalk's flat rows",
                version("backtalk"),
                "s",
                mine,
                flat,
                RUNS,
                f"{flat / mine:.1f} times as fast as with the prompt before every response",
            )
        )
    return results


def run(job: Job) -> dict[str, Any]:
    """Run a job in a process of its own and return its result."""
    results: dict[str, Any] = in_process("benchmarks.finetuning", json.dumps(asdict(job)))
    return results


def _try_settings(
    comparison: Comparison, side: str, settings: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    trial = replace(
        comparison.job,
        side=side,
        items=comparison.trial,
        step=min(comparison.job.step, comparison.trial),
    )
    return {
        json.dumps(setting): run(replace(trial, setting=setting))["seconds"] for setting in settings
    }


def _format_trials(trials: Mapping[str, float]) -> str:
    return ", ".join(
        f"{' '.join(f'{key}={value}' for key, value in json.loads(setting).items())} {seconds:.1f}"
        for setting, seconds in trials.items()
    )


def _check(name: str, ours: float, theirs: float) -> None:
    if abs(ours - theirs) > CLOSE:
        message = f"{name}: our loss of the first step is {ours:.6f}, the other's {theirs:.6f}"
        raise AssertionError(message)


def ours(job: Job) -> dict[str, Any]:
    """Train with the project's own trainer."""
    from backtalk.learn.finetune.config import TrainingConfig
    from backtalk.learn.finetune.logprobs import LogProbModel
    from backtalk.learn.finetune.objective import get_objective
    from backtalk.learn.finetune.reference_logprobs import ReferenceLogProbs
    from backtalk.learn.finetune.trainer import Trainer, TrainingTask
    from backtalk.learn.finetune.trees import PromptTree, ResponseTokens

    trees: list[PromptTree] = []
    for item in _items(job):
        match job.data:
            case "completions":
                trees.append(PromptTree(item.prompt, (ResponseTokens(item.chosen),)))
            case "texts":
                text = (*item.prompt, *item.chosen)
                trees.append(PromptTree(text[:1], (ResponseTokens(text[1:]),)))
            case _:
                trees.append(item.tree)
    budget, share = job.setting["batch_tokens"], job.setting.get("share")
    policy = _model(job, "policy")
    with_pairs = job.data in {"pairs", "lists"}
    reference = _model(job, "reference") if with_pairs else None
    before = _peak()
    cache = None
    if reference is not None:
        cache = ReferenceLogProbs(None, "reference")
        cache.compute(
            LogProbModel(reference, share=share),
            trees,
            batch_tokens=budget,
            context=nullcontext,
            report=lambda _: None,
        )
        del reference
    model = LogProbModel(policy, share=share)
    bound = get_objective("dpo").bind(beta=BETA) if with_pairs else get_objective("sft").bind()
    config = TrainingConfig(
        batch_size=job.step,
        batch_tokens=budget,
        learning_rate=RATE,
        lr_scheduler="constant",
        warmup_ratio=0.0,
    )
    trainer = Trainer(model, [TrainingTask("data", bound, trees)], config, reference=cache)
    index_of = {id(tree): index for index, tree in enumerate(trees)}
    begin = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - begin
    return {
        "seconds": seconds,
        "loss": trainer.history[0]["loss"],
        "first": [index_of[id(tree)] for _, tree in trainer.batch(0)],
        "tokens": sum(_tokens(job, item) for item in _items(job)),
        **_memory(before),
    }


def theirs(job: Job) -> dict[str, Any]:
    """Train with TRL on the tokens, with the reference's log-probabilities computed beforehand."""
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_DISABLE_PROGRESS_BARS="1")
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.set_verbosity_error()
    return _their_pairs(job) if job.data in {"pairs", "lists"} else _their_texts(job)


def _their_pairs(job: Job) -> dict[str, Any]:
    import torch
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    class PretokenisedDPOTrainer(DPOTrainer):
        """DPO trainer for a dataset of tokens."""

        def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
            return dataset

    groups = [[item] if isinstance(item, Pair) else item.pairs for item in _items(job)]
    rows = [
        {
            "prompt_ids": list(pair.prompt),
            "chosen_ids": list(pair.chosen),
            "rejected_ids": list(pair.rejected),
            "length": len(pair.prompt) + max(len(pair.chosen), len(pair.rejected)),
        }
        for group in groups
        for pair in group
    ]
    ends = [0]
    for group in groups:
        ends.append(ends[-1] + len(group))
    batch_size = job.setting["pairs"]
    policy, reference = _model(job, "policy"), _model(job, "reference")
    before = _peak()
    trainer = PretokenisedDPOTrainer(
        policy,
        reference,
        DPOConfig(
            **_settings(
                job,
                batch_size,
                job.step * len(groups[0]) // batch_size,
                grouped=job.setting["group"],
            ),
            beta=BETA,
            max_length=None,
            precompute_ref_log_probs=True,
            remove_unused_columns=False,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=_tokenizer(job),
    )
    data = trainer.train_dataset
    first = [index for i in job.first for index in range(ends[i], ends[i + 1])]
    total = 0.0
    with torch.no_grad():
        for start in range(0, len(first), batch_size):
            examples = [data[index] for index in first[start : start + batch_size]]
            total += float(trainer.compute_loss(policy, trainer.data_collator(examples))) * len(
                examples
            )
    seconds = time_training(trainer)
    return {"seconds": seconds, "loss": total / max(len(first), 1), **_memory(before)}


def _their_texts(job: Job) -> dict[str, Any]:
    import torch
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer, pack_dataset

    def row(pair: Pair) -> dict[str, list[int]]:
        text = [*pair.prompt, *pair.chosen]
        hidden = len(pair.prompt) if job.data == "completions" else 1
        return {"input_ids": text, "labels": [-100] * hidden + text[hidden:]}

    data = Dataset.from_list([row(pair) for pair in _items(job)])
    length, rows = job.setting["max_length"], job.setting["rows"]
    policy = _model(job, "policy")
    before = _peak()
    per_row = len(data) / len(pack_dataset(data, length, "bfd"))
    trainer = SFTTrainer(
        policy,
        SFTConfig(
            **_settings(job, rows, max(round(job.step / per_row / rows), 1), grouped=False),
            max_length=length,
            packing=True,
            packing_strategy="bfd",
        ),
        train_dataset=data,
        processing_class=_tokenizer(job),
    )
    loss = 0.0
    if job.first:
        packed = list(pack_dataset(data.select(job.first), length, "bfd"))
        collated = [
            trainer.data_collator(packed[start : start + rows])
            for start in range(0, len(packed), rows)
        ]
        learned = sum(int((few["labels"] != -100).sum()) for few in collated)
        with torch.no_grad():
            loss = sum(
                float(trainer.compute_loss(policy, few, num_items_in_batch=learned))
                for few in collated
            )
    seconds = time_training(trainer)
    return {"seconds": seconds, "loss": loss, **_memory(before)}


def _settings(job: Job, rows: int, accumulated: int, *, grouped: bool) -> dict[str, Any]:
    return {
        "output_dir": str(Path(job.folder) / "trl"),
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": accumulated,
        "num_train_epochs": 1,
        "learning_rate": RATE,
        "lr_scheduler_type": "constant",
        "train_sampling_strategy": "group_by_length" if grouped else "random",
        "gradient_checkpointing": False,
        "bf16": False,
        "use_cpu": True,
        "max_grad_norm": 1.0,
        "weight_decay": 0.0,
        "dataloader_pin_memory": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
    }


def time_training(trainer: Any) -> float:
    """Train with a trainer of TRL, and return the seconds of its steps."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.begin = time.perf_counter()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            self.seconds = time.perf_counter() - self.begin

    clock = Clock()
    trainer.add_callback(clock)
    trainer.train()
    return clock.seconds


def _items(job: Job) -> list[Any]:
    folder = Path(job.folder)
    if job.data != "lists":
        return pairs_in(folder)[: job.items]
    return rankings_in(
        folder,
        count=job.items,
        responses=RESPONSES,
        prompt_tokens=PROMPT,
        response_tokens=job.response,
    )


def _tokens(job: Job, item: Pair | Ranking) -> int:
    if isinstance(item, Ranking):
        return sum(pair.tokens for pair in item.pairs)
    return item.tokens if job.data == "pairs" else len(item.prompt) + len(item.chosen)


def _model(job: Job, name: str) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(Path(job.folder) / name, dtype="float32")


def _tokenizer(job: Job) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(job.folder)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)


def _memory(before: float) -> dict[str, float]:
    return {"own_gb": _peak() - before, "peak_gb": _peak()}


SIDES: Mapping[str, Callable[[Job], dict[str, Any]]] = {"ours": ours, "theirs": theirs}


def main() -> None:
    """Run a job and print its measurements."""
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    job = Job(**json.loads(sys.argv[1]))
    result = SIDES[job.side](job)
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
