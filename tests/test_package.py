"""Import time, import contracts, dependencies and rules of names and docstrings."""

import json
import re
import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points

import pytest

import backtalk
from backtalk.policy import save_policy
from tests.conftest import REPOSITORY

HEAVY = ("torch", "transformers", "pandas", "matplotlib", "fastapi", "sklearn", "scipy", "pyarrow")
UNUSED = {
    *HEAVY,
    "alembic",
    "httpx2",
    "jinja2",
    "numpy",
    "openai",
    "safetensors",
    "uvicorn",
    "yaml",
}
"""Packages that no command needs that reads or writes a few records."""


SOURCE = REPOSITORY / "src"
STUBS = sorted(SOURCE.rglob("__init__.pyi"))
MODULES = "import json, sys; print(); print(json.dumps(list(sys.modules)))"


def python(code, *options):
    command = [sys.executable, *options, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def loaded_after(code):
    listed = python(f"{code}\n{MODULES}").stdout
    return {name.partition(".")[0] for name in json.loads(listed.splitlines()[-1])}


def test_importing_loads_nothing_heavy():
    assert not loaded_after("import backtalk") & {*HEAVY, "numpy", "pydantic", "sqlalchemy"}


def test_importing_takes_less_than_300_milliseconds():
    """As measured by the interpreter, in microseconds."""
    lines = python("import backtalk", "-X", "importtime").stderr.splitlines()
    (total,) = [line for line in lines if line.rstrip().endswith("| backtalk")]
    assert int(total.split("|")[1]) < 300_000


def test_the_command_line_starts_without_heavy_imports():
    loaded = loaded_after("from backtalk.cli import main; main(['--version'])")
    assert not loaded & {*HEAVY, "numpy", "sqlalchemy"}


@pytest.mark.parametrize("arguments", [["status"], ["methods"], ["methods", "dpo"], ["import"]])
def test_a_command_imports_no_package_that_it_does_not_use(arguments, tmp_path):
    """A store with a policy, an evaluation of it and its promotion is read."""
    rows = tmp_path / "rows.jsonl"
    row = '{"prompt": "Open on day %d?", "chosen": "Yes.", "rejected": "No."}\n'
    rows.write_text("".join(row % i for i in range(10)))
    location = str(tmp_path / "store.db")
    if arguments == ["import"]:
        arguments = ["import", str(rows)]
    else:
        _fill(location)
    command = [*arguments, "--store", location]
    loaded = loaded_after(f"from backtalk.cli import main; assert main({command!r}) == 0")
    assert "sqlalchemy" in loaded
    assert not loaded & UNUSED
    assert not loaded & {"psycopg", "asyncpg"}


def _fill(location):
    policy = backtalk.Policy(model=backtalk.EndpointSpec(model="small"))
    interaction = backtalk.Interaction.of("Is it open?", "Yes.", "No.")
    preference = backtalk.Preference(
        interaction=interaction.id, annotator=backtalk.Annotator.human(), a="0", b="1", verdict="a"
    )
    with backtalk.Store(location) as store:
        store.add(interaction, preference)
        save_policy(store, policy)
        backtalk.promote(store, policy, actor="ada")


def test_a_command_imports_no_module_of_other_commands():
    loaded = python("from backtalk.cli import main; main(['methods', 'dpo'])\n" + MODULES).stdout
    commands = [name for name in json.loads(loaded.splitlines()[-1]) if ".cli.commands." in name]
    assert commands == ["backtalk.cli.commands.methods"]


def test_a_name_of_a_package_is_not_hidden_by_the_submodule_of_that_name():
    code = "import backtalk.learn.method, backtalk.stats.win_rate, backtalk.policy.diff\n"
    code += (
        "import backtalk.formats.read, backtalk.client.wrap, backtalk.learn.finetune.objective\n"
    )
    code += "from backtalk import client, formats, learn, policy, stats\n"
    code += "from backtalk.learn import finetune\n"
    code += "names = client.wrap, formats.read, learn.method, policy.diff, stats.win_rate\n"
    code += "assert all(map(callable, (*names, finetune.objective))), names"
    python(code)


@pytest.mark.parametrize("stub", STUBS, ids=lambda stub: ".".join(stub.parent.parts[-2:]))
def test_the_names_of_a_stub_can_be_imported(stub):
    name = ".".join(stub.relative_to(SOURCE).parent.parts)
    package = import_module(name)
    assert package.__all__
    assert all(getattr(package, public) is not None for public in package.__all__)


def test_statistics_formats_and_models_import_no_optional_packages():
    assert not loaded_after("import backtalk.stats") & {"torch", "pandas", "matplotlib"}
    assert not loaded_after("import backtalk.formats") & {"torch", "pandas"}
    assert not loaded_after("import backtalk.models") & {"torch", "transformers"}


def test_every_public_name_can_be_imported():
    for name in backtalk.__all__:
        assert getattr(backtalk, name) is not None
    assert set(backtalk.__all__) <= set(dir(backtalk))


def test_imports_point_one_way(monkeypatch):
    from importlinter.cli import lint_imports

    monkeypatch.chdir(REPOSITORY)
    assert lint_imports(no_cache=True) == 0


def test_entry_points_of_the_package_are_installed():
    assert {"small", "writer"} <= set(entry_points(group="backtalk.models").names)
    assert "true-utility" in entry_points(group="backtalk.rewards").names


def test_every_declared_dependency_is_pinned():
    project = re.sub(r"^strangers = .*", "", _read("pyproject.toml"), flags=re.MULTILINE)
    declared = re.findall(r'^    "([\w.-]+?)(?:\[[^\]]*\])?[><=]', project, re.MULTILINE)
    extras = re.findall(r'"([\w-]+)(?:\[[^\]]*\])?>=', project)
    lines = _read("constraints.txt").split()
    pinned = {pin.split("==")[0].lower().replace("_", "-") for pin in lines}
    required = {name.lower().replace("_", "-") for name in (*declared, *extras)} - {"hatchling"}
    assert required <= pinned, required - pinned


def _read(name):
    return (REPOSITORY / name).read_text()


def test_the_picture_of_the_layers_agrees_with_the_contract(monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY / "scripts")
    import draw_layers

    assert draw_layers.PICTURE.read_text(encoding="utf-8") == draw_layers.draw()
    assert ["cli", "testing"] in draw_layers.layers()


def test_names_and_docstrings_follow_the_rules():
    script = REPOSITORY / "scripts" / "check_prose.py"
    done = subprocess.run(
        [sys.executable, script, "src"], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")
