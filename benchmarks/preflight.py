"""Time to the first verdict of ``backtalk preflight``, with 1,500 preferences and 135 M weights.

The model has the size of SmolLM2-135M and random weights, which compute as long as trained ones.
Prints the seconds from the start of the process to each line. With the folder of another version's
``src`` as the argument, that version runs as well, for a minute and a half at most.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from backtalk.feedback import Preference
from backtalk.formats import RejectedRow, read
from benchmarks.finetuning_data import END, FOLDER, PADDING, train_tokenizer

DATA = FOLDER / "hh_rlhf_harmless.jsonl.gz"
MAX_SECONDS = 90.0
TEMPLATE = (
    "{% for message in messages %}{{ message.role }}<|padding|>{{ message.content }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}assistant<|padding|>{% endif %}"
)
POLICY = """name: plain
model:
  kind: local
  model: {folder}
"""


def main() -> None:
    """Fill a store, then run the command of this version and of another one."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_model(folder / "model")
        (folder / "plain.yaml").write_text(POLICY.format(folder=folder / "model"))
        for number, source in enumerate(("", *sys.argv[1:])):
            sys.stdout.write(f"{source or 'this version'}\n")
            store = str(folder / f"{number}.db")
            for command in (("import", str(DATA)), ("policy", "add", str(folder / "plain.yaml"))):
                _backtalk(*command, "--store", store, source=source).communicate()
            command = ("preflight", "dpo", "--policy", "plain", "--rows", "0", "--store", store)
            for seconds, line in _timed_lines(_backtalk(*command, source=source)):
                sys.stdout.write(f"{seconds:6.1f} s  {line}\n")
                sys.stdout.flush()


def write_model(folder: Path) -> None:
    """Write a model of the size of SmolLM2-135M with random weights, and a tokenizer."""
    tokenizer = train_tokenizer(_texts())
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PADDING, chat_template=TEMPLATE
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49_152,
        hidden_size=576,
        intermediate_size=1_536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=8_192,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.token_to_id(END),
        pad_token_id=tokenizer.token_to_id(PADDING),
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def _texts() -> Iterator[str]:
    for row in read(DATA):
        if not isinstance(row, RejectedRow):
            for case in row.cases:
                (preference,) = case.of(Preference)
                yield case.text(preference.chosen)
                yield from (message.text for message in case.interaction.prompt)


def _timed_lines(process: subprocess.Popen[str]) -> Iterator[tuple[float, str]]:
    """Yield the lines of a new process with their times in seconds, and end it when it is late."""
    begin = time.perf_counter()
    limit = threading.Timer(MAX_SECONDS, process.terminate)
    limit.start()
    assert process.stdout is not None
    for line in process.stdout:
        yield time.perf_counter() - begin, line.rstrip()
    limit.cancel()
    how = "ended" if process.wait() == 0 else "stopped"
    yield time.perf_counter() - begin, f"({how})"


def _backtalk(*arguments: str, source: str = "") -> subprocess.Popen[str]:
    environment = {**os.environ, **({"PYTHONPATH": source} if source else {})}
    return subprocess.Popen(
        [sys.executable, "-m", "backtalk", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


if __name__ == "__main__":
    main()
