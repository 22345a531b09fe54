"""docs/formats.md lists exactly the formats, options and fields that exist."""

import re
from typing import get_args

from backtalk.formats import EXPORTS, FORMATS, RowMapping
from backtalk.formats.mapping.kinds import FeedbackMapping
from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "formats.md").read_text(encoding="utf-8")


def read_table(first):
    """Return the rows of the table with a first heading: the rest of each line by its names."""
    (result,) = re.findall(
        rf"^\| {re.escape(first)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE
    )
    rows = [line.strip("|").split("|", 1) for line in result.splitlines()]
    return {name: rest for names, rest in rows for name in re.findall(r"`([^`]+)`", names)}


def test_every_format_is_listed():
    assert PAGE.count("| `--format` |") == 2
    imports, exports = PAGE.split("## Exporting")
    listed = re.findall(
        r"^\| `([a-z0-9][a-z0-9-]*)` \|", imports.split("Some formats")[0], re.MULTILINE
    )
    assert sorted(listed) == sorted(FORMATS)
    assert sorted(re.findall(r"^\| `([a-z0-9][a-z0-9-]*)` \|", exports, re.MULTILINE)) == sorted(
        EXPORTS
    )


def test_every_option_is_listed():
    rows = PAGE.split("Some formats have options")[1].split("## ")[0]
    listed = set(re.findall(r"`([a-z]+)=", rows))
    assert listed == {option for item in FORMATS.values() for option in item.options}


def test_every_field_of_a_mapping_is_listed():
    assert set(read_table("field")) == set(RowMapping.model_fields)
    kinds = read_table("`kind`")
    classes = get_args(get_args(FeedbackMapping)[0])
    shared = {"kind", "annotator", "annotator_kind", "time", "confidence"}
    assert len(kinds) == len(classes)
    for mapping in classes:
        (kind,) = get_args(mapping.model_fields["kind"].annotation)
        words = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`([^`]+)`", kinds[kind]))))
        assert set(mapping.model_fields) - shared <= words, kind
