"""SkillOpt: its training loop with its validation gate, on the prompt as the skill."""

import os
import random
import tempfile

from client import BUDGET, RNG, SEED, VALIDATION, answer_all, call, report, shown, write
from skillopt.datasets.base import BaseDataLoader, BatchSpec
from skillopt.engine.trainer import ReflACTTrainer
from skillopt.envs.base import EnvAdapter
from skillopt.gradient import aggregate

# The package of version 0.2.0 has none of its prompt files; merging one patch needs no text.
aggregate.load_prompt = lambda name, env=None: ""

BATCH = 10

task = call("/task")
by_request = {item["request"]: item for item in task["train"] + task["validation"]}


def report_best():
    """Report the best skill so far."""
    path = os.path.join(folder, "best_skill.md")
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            report(file.read().strip())


class _Loader(BaseDataLoader):
    """Batches of the task."""

    def get_train_size(self):
        """Return the number of training examples."""
        return len(task["train"])

    def build_train_batch(self, *, batch_size, seed, **_):
        """Return a training batch."""
        payload = random.Random(seed).sample(task["train"], batch_size)
        return BatchSpec("train", "train", seed, batch_size, payload)

    def build_eval_batch(self, *, env_num, split, seed, **_):
        """Return the validation set."""
        return BatchSpec("eval", split, seed, VALIDATION, task["validation"][:VALIDATION])


class _Environment(EnvAdapter):
    """Task of the endpoint."""

    analyst_workers, failure_only, minibatch_size, edit_budget = 1, False, BATCH, 4

    def get_dataloader(self):
        """Return the batches."""
        return _Loader()

    def build_env_from_batch(self, batch, **_):
        """Return the examples."""
        return list(batch.payload)

    def build_train_env(self, batch_size, seed, **_):
        """Return training examples."""
        return random.Random(seed).sample(task["train"], batch_size)

    def build_eval_env(self, env_num, split, seed, **_):
        """Return validation examples."""
        return task["validation"][:VALIDATION]

    def rollout(self, env_manager, skill_content, out_dir, **_):
        """Return results under a skill."""
        report_best()
        return [
            {
                "id": item["request"],
                "hard": int(value == 1),
                "soft": value,
                "answer": text,
                "critique": critique,
            }
            for item, (text, value, critique) in zip(
                env_manager, answer_all(skill_content.strip(), env_manager)
            )
        ]

    def reflect(self, results, skill_content, out_dir, **_):
        """Return a patch with the writer's rule."""
        text = "\n\n".join(
            shown(by_request[row["id"]], row["answer"], row["critique"]) for row in results
        )
        rule = write(text)
        if not rule or rule in skill_content:
            return []
        edit = {"op": "append", "content": rule}
        if RNG.random() < 0.5:
            edit = {"op": "replace", "target": skill_content.strip(), "content": rule}
        return [{"patch": {"edits": [edit]}, "source_type": "failure"}]

    def get_task_types(self):
        """Return the only type."""
        return ["task"]


folder = tempfile.mkdtemp()
seed_file = os.path.join(folder, "skill.md")
with open(seed_file, "w", encoding="utf-8") as file:
    file.write(task["seed_prompt"])
steps = max(1, (BUDGET - VALIDATION) // (BATCH + VALIDATION))
trainer = ReflACTTrainer(
    {
        "out_root": folder,
        "skill_init": seed_file,
        "batch_size": BATCH,
        "num_epochs": -(-steps * BATCH // len(task["train"])),
        "accumulation": 1,
        "seed": SEED,
        "merge_batch_size": 8,
        "edit_budget": 4,
        "sel_env_num": VALIDATION,
        "analyst_workers": 1,
        "gate_metric": "soft",
        "eval_test": False,
        "test_env_num": 0,
        "optimizer_model": "writer",
        "target_model": "task",
        "model_backend": "qwen_chat",
        "optimizer_backend": "qwen_chat",
        "target_backend": "qwen_chat",
        "env": "task",
    },
    _Environment(),
)
trainer.train()
report_best()
