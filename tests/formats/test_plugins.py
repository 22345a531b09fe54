"""Formats of installed packages, added through the entry-point group ``backtalk.formats``."""

import re
import sys
from contextlib import ExitStack

import pytest

from backtalk.errors import BacktalkError
from backtalk.feedback import Label
from backtalk.formats import FORMATS, Format, read
from backtalk.formats.format import recognise
from backtalk.formats.readers import Row
from tests.conftest import REPOSITORY
from tests.formats.samples import SAMPLES, read_case, write_rows
from tests.installed_package import installed_package

ROW = {"prompt": "Is it open?", "reply": "Yes.", "thumb": "true"}


def documented_format():
    """Return the code of docs/formats.md that defines the format ``thumbs``."""
    page = (REPOSITORY / "docs" / "formats.md").read_text(encoding="utf-8")
    (code,) = [
        block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "thumbs" in block
    ]
    return code


@pytest.fixture
def install(tmp_path):
    """Return a function that installs a package that provides the format ``thumbs``."""
    with ExitStack() as stack:

        def install(source, target="our_widget:thumbs"):
            entry_points = {"backtalk.formats": {"thumbs": target}}
            stack.enter_context(installed_package(tmp_path, "our_widget", source, entry_points))

        yield install
    FORMATS.unregister("thumbs")


def test_an_installed_format_is_known_without_an_import(install, tmp_path):
    install(documented_format())
    assert "thumbs" in FORMATS.names()
    assert "our_widget" not in sys.modules
    path = write_rows(tmp_path / "rows.jsonl", ROW)
    (label,) = read_case(path, format="thumbs").of(Label)
    assert label.good


def test_an_installed_format_takes_part_in_recognition(install, tmp_path):
    install(documented_format())
    (label,) = read_case(write_rows(tmp_path / "rows.jsonl", ROW)).of(Label)
    assert label.good
    assert recognise([Row("x", 1, SAMPLES["hh-rlhf"])]).name == "hh-rlhf"


def test_an_entry_point_may_refer_to_a_format(install):
    install(
        "from backtalk.formats import Format\n"
        "item = Format('thumbs', 'Thumbs', 'docs', lambda row: [], lambda row: False)",
        "our_widget:item",
    )
    assert isinstance(FORMATS.get("thumbs"), Format)


def test_a_broken_plugin_is_named_and_other_formats_stay_usable(install, tmp_path, caplog):
    install("import no_such_module")
    path = write_rows(tmp_path / "rows.jsonl", SAMPLES["trl-preference"])
    with pytest.raises(BacktalkError, match=r"'thumbs' of our_widget cannot be loaded"):
        read(path, format="thumbs")
    assert read_case(path).interaction
    assert "our_widget" in caplog.text


def test_a_plugin_that_registers_nothing_is_an_error(install):
    install("def thumbs(row): ...")
    with pytest.raises(BacktalkError, match="is not one"):
        FORMATS.get("thumbs")
