"""The commands and code of docs/experiments.md run."""

import os
import sys
from pathlib import Path

from backtalk.promotion import promotion_history
from backtalk.store import Store
from tests.conftest import REPOSITORY
from tests.serve.conftest import serving
from tests.serve.test_serve_page import GatewayReader, free_port
from tests.serve.upstream import make_upstream

PAGE = REPOSITORY / "docs" / "experiments.md"
assert free_port


def test_the_page_runs(tmp_path, monkeypatch, free_port):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    for name in [name for name in os.environ if name.startswith("BACKTALK")]:
        monkeypatch.delenv(name)
    app, _ = make_upstream()
    with serving(app) as url:
        reader = GatewayReader(tmp_path, free_port, url)
        reader.met = {"policy", "promote", "experiment", "status", "rollback", "estimate"}
        try:
            names = reader.follow(PAGE)
        finally:
            reader.close()
    assert [arm.verdict for arm in names["summary"].arms] == ["control", "better"]
    with Store("backtalk.db") as store:
        records = [(record.promotion.action, record.actor) for record in promotion_history(store)]
    assert [action for action, _ in records] == ["promote", "promote", "rollback"]
    assert records[1][1] == "backtalk"
