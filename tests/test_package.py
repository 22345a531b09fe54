"""Import time, import contracts, dependencies and rules of names and docstrings."""

import json
import re
import subprocess
import sys
from importlib.metadata import entry_points

import backtalk
from tests.conftest import REPOSITORY

HEAVY = ("torch", "transformers", "pandas", "matplotlib", "fastapi", "sklearn", "scipy", "pyarrow")


def python(code, *options):
    command = [sys.executable, *options, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def loaded_after(code):
    listed = python(f"{code}\nimport json, sys; print(json.dumps(list(sys.modules)))").stdout
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
