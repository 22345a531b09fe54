"""Formats of installed packages, added through the entry-point group ``backtalk.formats``."""

import re
import sys

import pytest

from backtalk.errors import BacktalkError
from backtalk.feedback import Label
from backtalk.formats import FORMATS, Format, read
from backtalk.formats.format import recognise
from backtalk.formats.readers import Row
from tests.conftest import REPOSITORY
from tests.formats.samples import SAMPLES, read_case, write_rows

ROW = {"prompt": "Is it open?", "reply": "Yes.", "thumb": "true"}


def documented_format():
    """Return the code of docs/formats.md that defines the format ``thumbs``."""
    page = (REPOSITORY / "docs" / "formats.md").read_text(encoding="utf-8")
    (code,) = [
        block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "thumbs" in block
    ]
    return code


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package whose module ``widget_formats`` provides the format ``thumbs``."""

    def install(code, target="widget_formats:thumbs"):
        folder = tmp_path / "site"
        info = folder / "our_widget-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: our-widget\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[backtalk.formats]\nthumbs = {target}\n")
        (folder / "widget_formats.py").write_text(code)
        monkeypatch.syspath_prepend(str(folder))

    yield install
    FORMATS.unregister("thumbs")
    sys.modules.pop("widget_formats", None)


def test_an_installed_format_is_known_without_an_import(install, tmp_path):
    install(documented_format())
    assert "thumbs" in FORMATS.names()
    assert "widget_formats" not in sys.modules
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
        "widget_formats:item",
    )
    assert isinstance(FORMATS.get("thumbs"), Format)


def test_a_broken_plugin_is_named_and_other_formats_stay_usable(install, tmp_path, caplog):
    install("import no_such_module")
    path = write_rows(tmp_path / "rows.jsonl", SAMPLES["trl-preference"])
    with pytest.raises(BacktalkError, match=r"'thumbs' of our-widget cannot be loaded"):
        read(path, format="thumbs")
    assert read_case(path).interaction
    assert "our-widget" in caplog.text


def test_a_plugin_that_registers_nothing_is_an_error(install):
    install("def thumbs(row): ...")
    with pytest.raises(BacktalkError, match="is not one"):
        FORMATS.get("thumbs")
