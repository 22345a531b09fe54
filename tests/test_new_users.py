"""The README's paths of new users, run whole: `make strangers`.

They take minutes, and are skipped unless ``BACKTALK_NEW_USERS`` is set.
"""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from backtalk.annotation.assignments import Assignments
from backtalk.annotation.tasks import list_tasks
from backtalk.feedback import Annotator, Preference
from backtalk.store import Store
from tests.conftest import REPOSITORY
from tests.demos import DEMO

pytestmark = pytest.mark.skipif(
    "BACKTALK_NEW_USERS" not in os.environ, reason="it takes minutes; `make strangers` runs it"
)

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
NEXT = re.compile(r"Next: `(backtalk [^`]+)`")
BIN = str(Path(sys.executable).parent)


def section(title):
    """Return the commands of a section of the README."""
    text = README.partition(f"### {title}\n")[2].partition("\n### ")[0]
    return re.findall(r"^\$ (.*)$", text, re.MULTILINE)


class User:
    """Person who types commands in a folder, and follows each "Next:" as it is printed."""

    def __init__(self, folder, replacements=()):
        self.folder = folder
        self.replacements = dict(replacements)
        names = [name for name in os.environ if not name.startswith(("BACKTALK", "OPENAI"))]
        self.environment = {name: os.environ[name] for name in names} | {"COLUMNS": "80"}
        self.environment["PATH"] = f"{BIN}{os.pathsep}{os.environ['PATH']}"
        self.environment["OMP_NUM_THREADS"] = "1"
        self.seconds = []

    def type(self, line, *, codes=(0,)):
        """Run a command, print its duration, and return its output."""
        for text, replacement in self.replacements.items():
            line = line.replace(text, replacement)
        begin = time.perf_counter()
        done = subprocess.run(
            line, shell=True, cwd=self.folder, env=self.environment,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        sys.stdout.write(f"{time.perf_counter() - begin:6.1f} s  $ {line}\n")
        output = done.stdout + done.stderr
        assert done.returncode in codes, f"{line}\n{output}"
        assert "Traceback" not in output, output
        assert "This is a bug" not in output, output
        return output

    def next_command(self):
        """Return the command that ``status`` names as the next step; ``None`` if it names none."""
        named = NEXT.search(self.type("backtalk status"))
        return named[1] if named else None

    def start(self, line):
        """Start a server, and return its process."""
        for text, replacement in self.replacements.items():
            line = line.replace(text, replacement)
        log = (self.folder / "serve.log").open("ab")
        return subprocess.Popen(
            shlex.split(line), cwd=self.folder, env=self.environment, stderr=log, stdout=log
        )


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_for(port):
    for _ in range(600):
        try:
            return httpx2.get(f"http://127.0.0.1:{port}/ready")
        except httpx2.TransportError:
            time.sleep(0.1)
    raise AssertionError("the server did not start")


def test_a_person_runs_the_demo_and_reads_the_report(shared_demo):
    assert DEMO.startswith("backtalk demo")
    report = next((shared_demo.folder / "demo").glob("*.html")).read_text(encoding="utf-8")
    assert "%" in shared_demo.output
    assert not re.search(r"\b[0-9a-f]{64}\b", re.sub(r"<[^>]*>", " ", report))


@pytest.fixture
def developer(tmp_path):
    """Developer whose model server and gateway run."""
    model, gateway = free_port(), free_port()
    user = User(
        tmp_path,
        {
            "localhost:8000": f"127.0.0.1:{model}",
            "model: small": 'model: "backtalk:default"',
            "llm:small": "llm:backtalk:default",
            "--limit 40": "--limit 4 --no-wait",
        },
    )
    servers = []
    (tmp_path / "served").mkdir()
    vendor = User(tmp_path / "served")
    vendor.type("printf 'model: {kind: named, name: small}\\n' > small.yaml")
    vendor.type("backtalk policy add small.yaml --name small")
    vendor.type("backtalk promote small")
    servers.append(vendor.start(f"backtalk serve --port {model}"))
    wait_for(model)
    first, *rest = section("With an application and an endpoint")
    servers.append(user.start(f"{first.removesuffix(' &')} --port {gateway}"))
    wait_for(gateway)
    try:
        yield user, rest, f"http://127.0.0.1:{gateway}"
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            server.wait(60)


def use_the_application(url, count, seed):
    """Request mails, half of them like any user's, and send a thumb on each."""
    from backtalk import Interaction, Response
    from backtalk.worlds import get_world
    from backtalk.worlds.annotators import Person, give_feedback

    world, ada = get_world("mail"), Person("ada", temperature=0.04)
    prompts = [
        *world.prompts("train", count, seed=seed),
        *world.prompts("held-out", count // 2, seed=seed),
    ]

    def use(prompt):
        body = {"model": "backtalk:default", "messages": [item.to_dict() for item in prompt]}
        answer = httpx2.post(f"{url}/v1/chat/completions", json=body, timeout=120).json()
        mail = Response(id="0", text=answer["choices"][0]["message"]["content"])
        interaction = Interaction(id=answer["id"], prompt=prompt, responses=(mail,))
        (label,) = give_feedback(ada, "label", interaction)
        row = {"interaction": answer["id"], "thumb": "up" if label.good else "down", "user": "ada"}
        assert httpx2.post(f"{url}/v1/feedback", json=row).status_code in {201, 202}

    with ThreadPoolExecutor(8) as executor:
        list(executor.map(use, prompts))


def judge_pairs(location):
    """Prefer the first answer of each pair of the open task."""
    with Store(location) as store:
        (status,) = [item for item in list_tasks(store) if item.open]
        assignments = Assignments(store, status.task)
        while (assignment := assignments.next("grace")) is not None:
            a, b = store.interaction(assignment.interaction).responses
            store.add(
                Preference(
                    interaction=assignment.interaction,
                    annotator=Annotator.human("grace"),
                    a=a.id,
                    b=b.id,
                    verdict="a",
                )
            )
            assignments.complete(assignment.interaction, "grace", "done")


def test_an_app_developer_gets_from_thumbs_to_an_experiment(developer):
    user, commands, url = developer
    write, add, promote, learn, by_reward, by_people, by_model, gate, experiment = commands[:9]
    learn_prompt, learn_memory, list_memory = commands[9:]
    assert "The project is empty" in user.type("backtalk status")
    user.type(write)
    assert "backtalk promote plain" in user.type(add)
    assert user.next_command() == promote
    user.type(promote)
    use_the_application(url, 120, seed=1)
    assert user.next_command() == learn
    user.type(learn)
    assert user.next_command() == by_reward
    assert "judgements" in user.type(by_reward)
    following = user.next_command()
    if following is not None:
        assert "is the active policy now" in user.type(following)
        user.type("backtalk rollback")
    people = user.replacements["--limit 40"]
    assert "--no-wait" in people
    user.type(by_people, codes=(0, 6))
    judge_pairs(user.folder / "backtalk.db")
    assert "people" in user.type(by_people)
    # The model writes mails only, so that its replies are no verdicts.
    verdicts = user.type(f"{by_model} --limit 2 --check-judge 0 --max-calls 200", codes=(0, 1))
    assert re.search("readable|wins", verdicts), verdicts
    decision = user.type(gate, codes=(0, 4))
    if "is the active policy now" not in decision:
        assert "does not pass the gate" in decision
        user.type(experiment)
        assert user.next_command() == "backtalk experiment show better"
    user.type("backtalk judge list")
    user.type(learn_prompt, codes=(0, 7))
    # Thumbs alone say nothing that a memory can hold; a standing rule does.
    assert "feedback" in user.type(learn_memory, codes=(1,))
    user.type('backtalk memory add "Sign with Kind regards."')
    assert "Kind regards" in user.type(list_memory)


def write_model(folder, texts):
    """Write a small model with random weights that has a long window, and a tokenizer."""
    import torch
    from benchmarks.finetuning_data import END, PADDING, train_tokenizer
    from benchmarks.preflight import TEMPLATE
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = train_tokenizer(texts)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PADDING, chat_template=TEMPLATE
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=64, intermediate_size=96,
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=2_048, bos_token_id=None,
        eos_token_id=tokenizer.token_to_id(END), pad_token_id=tokenizer.token_to_id(PADDING),
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)


def test_an_engineer_gets_from_pairs_to_exported_weights(tmp_path, data):
    import gzip

    from transformers import AutoModelForCausalLM

    pairs = data / "hh_rlhf_harmless.jsonl.gz"
    with gzip.open(pairs, "rt") as rows:
        write_model(tmp_path / "model", [json.loads(row)["chosen"] for row in rows])
    user = User(
        tmp_path,
        {
            "hh_rlhf_harmless.jsonl.gz": str(pairs),
            "model: MODEL-FOLDER}": "model: model}\\ndecoder: {kind: sample, "
            "sampling: {max_tokens: 24}}",
            "--limit 100": "--limit 40",
        },
    )
    commands = section("With a model and preferences")
    load, write, add, promote, preflight, learn, evaluate, gate, export = commands
    assert "1,500 rows" in user.type(load)
    user.type(write)
    assert "backtalk promote plain" in user.type(add)
    assert user.next_command() == promote
    user.type(promote)
    assert user.next_command() == learn.removesuffix(" --limit 200")
    user.type(preflight)
    user.type(learn)
    assert user.next_command() == evaluate.removesuffix(" --limit 100")
    user.type(evaluate)
    user.type(gate, codes=(0, 4))
    assert "tuned-model" in user.type(export)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "tuned-model")
    assert loaded.config.max_position_embeddings == 2_048
