"""Every command and every example in the documentation runs."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from backtalk.cli import main
from backtalk.formats import FORMATS
from backtalk.learn import METHODS
from backtalk.learn.finetune import OBJECTIVES
from tests.conftest import REPOSITORY

PAGES = sorted([REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")])
ELSEWHERE = {"experiments.md", "first-steps.md", "serve.md"}
"""Pages that tests of their own run."""
BLOCK = re.compile(r"^```(\w+)( no-run)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"[|&;<>(){}*?`~#\\]")
"""What only a shell understands; variables are understood here too."""
DEMO = "backtalk demo --model writer --requests 300 --no-browser"
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")


def blocks(page):
    """The blocks of a page that are run: ``(language, text)``."""
    return blocks_of(page.read_text(encoding="utf-8"))


def blocks_of(text):
    """The blocks of a part of a page that are run."""
    results = BLOCK.findall(text)
    return [(language, block) for language, left_out, block in results if not left_out]


def commands(page):
    """The lines that a reader would type."""
    shell = [text for language, text in blocks(page) if language == "console"]
    return [line[2:] for text in shell for line in text.splitlines() if line.startswith("$ ")]


class Reader:
    """Somebody who stands in an empty folder and does what a page says.

    A command of Backtalk is given to a shell the first time that any page has it, and wherever it
    needs one; later on it is called here, where all that it imports is there already.

    Parameters
    ----------
    folder
        Where the reader stands.
    demo
        Where the demo is kept once it was made: several pages make it.
    """

    met: ClassVar[set[str]] = set()

    def __init__(self, folder, demo):
        self.folder = folder
        self.demo = demo

    def follow(self, page):
        """Run a page's commands and Python in the order in which they stand."""
        names = {}
        for language, text in blocks(page):
            if language == "python":
                exec(compile(text, str(page), "exec"), names)
            elif language == "console":
                for line in text.splitlines():
                    if line.startswith("$ ") and not line.startswith("$ make "):
                        self.type(line[2:])

    def type(self, line):
        if line == DEMO and self.demo.exists():
            shutil.copytree(self.demo, self.folder / "demo")
            return
        command = line.split()[:2]
        if command[0] == "backtalk" and command[1] in self.met and not SHELL.search(line):
            assert main(shlex.split(os.path.expandvars(line))[1:]) == 0, line
        else:
            done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
            self.met.update(command)
        if line == DEMO:
            shutil.copytree(self.folder / "demo", self.demo)


@pytest.fixture
def reader(tmp_path, tmp_path_factory, monkeypatch):
    """A reader; what the page registers is forgotten after it."""
    known = [(register, set(register)) for register in (FORMATS, METHODS, OBJECTIVES)]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    for name in [name for name in os.environ if name.startswith("BACKTALK")]:
        monkeypatch.delenv(name)
    yield Reader(tmp_path, tmp_path_factory.getbasetemp() / "demo")
    for register, names in known:
        for name in set(register) - names:
            register.unregister(name)


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p.name not in ELSEWHERE], ids=lambda page: page.name
)
def test_a_page_runs(page, reader):
    reader.follow(page)


def test_every_command_of_a_page_is_one_that_exists():
    from backtalk.cli.commands import PANELS

    modules = [name for modules in PANELS.values() for name in modules]
    known = {name.strip("_").replace("_", "-") for name in modules} | {"crossval", "restore"}
    typed = [line.split()[1] for page in PAGES for line in commands(page) if "backtalk " in line]
    assert set(typed) <= known
    assert {"import", "learn", "evaluate", "promote", "rollback", "export"} <= set(typed)


def test_every_link_leads_somewhere():
    for page in PAGES:
        for link in LINK.findall(page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_exit_codes_are_documented():
    from backtalk.cli.exit_codes import ExitCode

    page = (REPOSITORY / "docs" / "cli.md").read_text()
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)] == [*ExitCode]


def test_every_method_that_trains_is_named_where_training_is_described():
    trained = {method.name for method in METHODS.values() if method.plan is not None}
    page = (REPOSITORY / "docs" / "finetune.md").read_text(encoding="utf-8")
    assert trained <= set(re.findall(r"`([\w-]+)`", page))
