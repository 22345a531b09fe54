"""The package of docs/plugins.md, built and installed by pip, and used by name."""

import json
import os
import re
import subprocess
import sys
import tomllib

import pytest

from tests.conftest import REPOSITORY

BLOCK = re.compile(r"^```(toml|python)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGE = (REPOSITORY / "docs" / "plugins.md").read_text(encoding="utf-8")
BLOCKS = BLOCK.findall(PAGE)
(PROJECT,) = [text for language, text in BLOCKS if language == "toml"]
*PARTS, LAWS = [text for language, text in BLOCKS if language == "python"]

TESTS = """
import pytest
from my_parts import *
from my_parts import HardSumsWorld, thumbs
from backtalk import Policy, Store
from backtalk.decode import get_decoder
from backtalk.embedders.registry import get_embedder
from backtalk.feedback import Annotator, Interaction, Label, Preference
from backtalk.formats import FORMATS, read
from backtalk.learn import METHODS
from backtalk.learn.finetune import get_objective
from backtalk.models import get_model
from backtalk.rewards import get_reward
from backtalk.testing import *
from backtalk.testing.objectives import ObjectiveLaws
from backtalk.worlds import get_world


class TestThumbs(FormatLaws):
    def format(self):
        return FORMATS.get("thumbs")

    def rows(self):
        return [
            {"question": "Is it open?", "reply": "Yes.", "thumb_up": True},
            {"question": "Is it open?", "reply": "No.", "thumb_up": False},
        ]


class TestParrot(ModelLaws):
    def model(self):
        return get_model("parrot", {"suffix": "!"})


class TestLetters(EmbedderLaws):
    def embedder(self):
        return get_embedder("letters").fit(["a"])


class TestAskForBrevity(MethodLaws):
    def method(self):
        return METHODS.get("ask-for-brevity")

    def policy(self):
        return Policy.from_yaml("{name: plain, model: {kind: named, name: parrot}}")

    def store(self):
        store = Store(":memory:")
        ada = Annotator.human("ada")
        for day in range(10):
            prompt = f"Is it open on day {day}?"
            interaction = Interaction.of(prompt, "Yes.", "Yes, from nine to five.")
            about = {"interaction": interaction.id, "annotator": ada}
            store.add(interaction, Preference(a="0", b="1", verdict="a", **about))
        return store


class TestSquaredMargin(ObjectiveLaws):
    def objective(self):
        return get_objective("squared-margin").bind(target=0.5)


class TestHardSums(WorldLaws):
    count = 20

    def world(self):
        return get_world("hard-sums")

    def test_laws_of_worlds(self):
        # Its tasks are the out-of-scope tasks of the sums world, so the splits overlap.
        world = self.world()
        assert world.name == "hard-sums"
        (prompt,) = world.prompts("train", 1)
        task = world.parse_prompt(prompt)
        assert world.score(prompt, world.ideal(task)).utility == 1


def test_the_names_are_known():
    assert get_reward("brevity").name == "brevity"
    assert get_decoder("first-line") is FirstLine
    policy = Policy.from_yaml("{model: {kind: named, name: parrot}, decoder: {kind: first-line}}")
    from backtalk import load_policy

    assert load_policy(policy).respond("Is it open?\\nWhy?").text == "Is it open?"
"""


def pip(*arguments):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    subprocess.run(command, check=True, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Folder into which pip installed the package of the page."""
    source = tmp_path_factory.mktemp("my-parts")
    (source / "pyproject.toml").write_text(PROJECT)
    (source / "my_parts.py").write_text("\n".join(PARTS))
    site = tmp_path_factory.mktemp("site")
    pip("install", "--no-deps", "--no-build-isolation", "--target", str(site), str(source))
    return site


def run(site, *command, cwd):
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run(
        [sys.executable, *command],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
        cwd=cwd,
    )


def test_every_part_obeys_the_laws_of_its_kind(site, tmp_path):
    (tmp_path / "test_my_parts.py").write_text(f"{TESTS}\n{LAWS}")
    done = run(site, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout


def test_the_command_line_knows_the_parts(site, tmp_path):
    done = run(site, "-m", "backtalk", "methods", "ask-for-brevity", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    method = json.loads(done.stdout)
    assert (method["target"], method["options"]) == ("prompt", {"share": 0.5})
    rewards = run(site, "-m", "backtalk", "reward", "list", cwd=tmp_path)
    assert "brevity" in rewards.stdout.split()
    (tmp_path / "rows.jsonl").write_text('{"question": "Open?", "reply": "No", "thumb_up": true}')
    done = run(site, "-m", "backtalk", "import", "rows.jsonl", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows.jsonl"]["added"]["feedback"] == 1


def test_the_page_lists_every_kind_of_part():
    groups = set(tomllib.loads(PROJECT)["project"]["entry-points"])
    kinds = "formats models embedders rewards decoders methods objectives worlds"
    assert groups == {f"backtalk.{kind}" for kind in kinds.split()}
