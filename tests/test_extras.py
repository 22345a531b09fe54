"""Packages and extras that messages and documents name to install."""

import re
import tomllib
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_TEXTS = [*(_ROOT / "src").rglob("*.py"), *(_ROOT / "docs").glob("*.md"), _ROOT / "README.md"]
_PROJECT = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))["project"]
_EXTRAS = _PROJECT["optional-dependencies"]
_PATTERNS = {"opentelemetry-exporter-NAME"}
"""Names that a reader completes."""
_OPTIONAL = {"xllamacpp"}
"""Packages that are used where they are installed, and belong to no extra."""


def mentions(pattern):
    return {match for path in _TEXTS for match in re.findall(pattern, path.read_text("utf-8"))}


def test_every_extra_that_is_named_exists():
    named = set()
    for pattern in (r'MissingExtra\.named\(\s*"([^"]+)"', r"backtalk\[([a-z,]+)\]"):
        extras = ",".join(mentions(pattern))
        named |= set(extras.split(","))
    assert {"train", "gguf", "serve"} <= named
    assert named - {"extra"} <= _EXTRAS.keys()  # MissingExtra itself writes `extra`


def test_every_package_that_is_named_is_required_by_backtalk():
    listed = [*_PROJECT["dependencies"], *(item for items in _EXTRAS.values() for item in items)]
    known = (
        {re.match(r"[\w.-]+", item)[0] for item in listed}
        | _PATTERNS
        | _OPTIONAL
        | {".", "backtalk"}
    )
    named = mentions(r"pip install(?: -[\w-]+)* ['\"]?([\w.-]+)")
    assert named
    assert named <= known
