"""Every command and every example in the documentation runs."""

import os
import re
import shlex
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
from tests.demos import DEMO

PAGES = sorted([REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")])
TESTED_ELSEWHERE = {"experiments.md", "first-steps.md", "serve.md"}
"""Pages with separate tests."""
BLOCK = re.compile(r"^```(\w+)( no-run)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL_SYNTAX = re.compile(r"[|&;<>(){}*?`~#\\]")
"""Characters with a meaning to the shell, except those of variables."""
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")


def blocks(page):
    """Return the blocks of a page that are run, as ``(language, text)``."""
    return blocks_of(page.read_text(encoding="utf-8"))


def blocks_of(text):
    """Return the blocks of a text that are run, as ``(language, text)``."""
    results = BLOCK.findall(text)
    return [(language, block) for language, left_out, block in results if not left_out]


def commands(page):
    """Return the commands of a page."""
    shell = [text for language, text in blocks(page) if language == "console"]
    return [line[2:] for text in shell for line in text.splitlines() if line.startswith("$ ")]


class Reader:
    """Runner of the commands and code of a page in an empty folder.

    A command of Backtalk runs in a shell the first time, and if it needs one; otherwise it runs in
    this process, which has imported its modules already. So do commands that load a model, because
    a new process imports for ten seconds what they need: ``make strangers`` runs them in a shell.

    Parameters
    ----------
    folder
        Working directory.
    demo
        Function that returns the shared demo, which is copied for each page.
    """

    met: ClassVar[set[str]] = {
        *("simulate", "learn", "learn-online", "preflight", "evaluate", "compare", "watch")
    }

    def __init__(self, folder, demo):
        self.folder = folder
        self.demo = demo

    def follow(self, page):
        """Run the commands and the Python code of a page in order."""
        names = {}
        for language, text in blocks(page):
            if language == "python":
                exec(compile(text, str(page), "exec"), names)
            elif language == "console":
                for line in text.splitlines():
                    if line.startswith("$ ") and not line.startswith("$ make "):
                        self.type(line[2:])

    def type(self, line):
        """Run a command."""
        if line == DEMO:
            self.demo().copy(self.folder / "demo")
            return
        command = line.split()[:2]
        if command[0] == "backtalk" and command[1] in self.met and not SHELL_SYNTAX.search(line):
            assert main(shlex.split(os.path.expandvars(line))[1:]) == 0, line
        else:
            done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
            self.met.update(command)


@pytest.fixture
def reader(tmp_path, request, monkeypatch):
    """Reader in an empty folder; names registered by the page are unregistered after it."""
    before = [(registry, set(registry)) for registry in (FORMATS, METHODS, OBJECTIVES)]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    for name in [name for name in os.environ if name.startswith("BACKTALK")]:
        monkeypatch.delenv(name)
    yield Reader(tmp_path, lambda: request.getfixturevalue("shared_demo"))
    for registry, names in before:
        for name in set(registry) - names:
            registry.unregister(name)


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p.name not in TESTED_ELSEWHERE], ids=lambda page: page.name
)
def test_a_page_runs(page, reader):
    reader.follow(page)


def test_every_command_of_a_page_exists():
    from backtalk.cli.commands import PANELS

    modules = [name for modules in PANELS.values() for name in modules]
    known = {name.strip("_").replace("_", "-") for name in modules} | {"crossval", "restore"}
    typed = [line.split()[1] for page in PAGES for line in commands(page) if "backtalk " in line]
    assert set(typed) <= known
    assert {"import", "learn", "evaluate", "promote", "rollback", "export"} <= set(typed)


def test_every_link_has_a_target():
    for page in PAGES:
        for link in LINK.findall(page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_exit_codes_are_documented():
    from backtalk.cli.exit_codes import ExitCode

    page = (REPOSITORY / "docs" / "cli.md").read_text()
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)] == [*ExitCode]


def test_every_training_method_is_named_on_the_page_of_training():
    trained = {method.name for method in METHODS.values() if method.plan is not None}
    page = (REPOSITORY / "docs" / "finetune.md").read_text(encoding="utf-8")
    assert trained <= set(re.findall(r"`([\w-]+)`", page))


@pytest.mark.parametrize(("target", "page"), [("prompt", "prompts.md"), ("memory", "memory.md")])
def test_every_method_without_training_is_named_on_the_page_of_its_target(target, page):
    names = {method.name for method in METHODS.values() if method.target == target}
    text = (REPOSITORY / "docs" / page).read_text(encoding="utf-8")
    assert names <= set(re.findall(r"`([\w-]+)`", text))
