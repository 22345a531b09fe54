"""The end-to-end example of docs/serve.md: from first thumbs to a promoted policy."""

import os
import socket
import sys
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from backtalk.evaluate.storage import list_evaluations
from backtalk.experiments import list_experiments
from backtalk.policy import read_policy
from backtalk.promotion import active_policy, promotion_history
from backtalk.store import Store
from tests.serve.pages.conftest import DESKTOP
from tests.serve.test_serve_page import END_TO_END, PAGE, GatewayReader

LAST = "From then on"
"""Beginning of the last part of the example, the rollback."""

SCREENSHOTS = os.environ.get("BACKTALK_DOCS_SCREENSHOTS")
"""Folder for screenshots of the pages: with `docs` those of the documentation are replaced."""


@dataclass
class Example:
    """Reader of the example, with the servers running."""

    reader: GatewayReader
    names: dict
    url: str
    shop: ThreadingHTTPServer
    """Server of the application's pages, which are in the folder."""
    rest: str

    @property
    def store(self):
        return Store(self.reader.folder / "backtalk.db")


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stranger")
    with socket.create_server(("127.0.0.1", 0)) as a, socket.create_server(("127.0.0.1", 0)) as b:
        model_server, gateway = (f"127.0.0.1:{server.getsockname()[1]}" for server in (a, b))
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    shop = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=shop.serve_forever, daemon=True).start()
    part, marker, rest = PAGE.read_text("utf-8").partition(END_TO_END)[2].partition(LAST)
    assert marker
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("BACKTALK")]:
            patch.delenv(name)
        patch.chdir(folder)
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        patch.setenv("OMP_NUM_THREADS", "1")
        reader = GatewayReader(folder, int(gateway.rpartition(":")[2]), f"http://{model_server}")
        reader.replacements["localhost:8090"] = f"127.0.0.1:{shop.server_port}"
        try:
            yield Example(reader, reader.run_part(part), f"http://{gateway}", shop, rest)
        finally:
            reader.close()
            shop.shutdown()


def test_a_policy_learned_from_users_is_promoted_by_the_experiment(example):
    with example.store as store:
        plain, candidates = read_policy(store, "plain"), ("chooser", "tuned")
        served = active_policy(store)
        assert served.id in {read_policy(store, name).id for name in candidates}
        assert [record.actor for record in promotion_history(store)][1:] == ["backtalk"]
        (evaluation,) = list_evaluations(store, candidate=served.id)
        assert evaluation.baseline == plain.id
        assert evaluation.split == "live"
        assert evaluation.win_rate.low > 0.5
        (experiment,) = list_experiments(store)
        interactions = [case.interaction for case in store.cases()]
        arms = {
            interaction.policy
            for interaction in interactions
            if interaction.propensity == pytest.approx(1 / 3)
        }
        assert arms == set(experiment.arms)
        assert set(example.names["interactions"]) <= {
            interaction.id for interaction in interactions
        }


def test_the_snippet_sends_thumbs_and_edits_from_a_browser(example, chromium):
    (answer,) = example.names["users"](1, seed=99, kinds=())
    (example.reader.folder / "shop.html").write_text(
        f'<!doctype html><title>Shop</title><script src="{example.url}/backtalk.js"></script>'
        f'<p data-backtalk="{answer}" data-user="bo">We open at nine.</p>'
    )
    page = chromium.take()
    page.goto(f"http://127.0.0.1:{example.shop.server_port}/shop.html")
    for button in ("Good", "Edit"):
        page.get_by_role("button", name=button).click()
    page.get_by_role("textbox", name="Edit").fill("We open at ten.")
    with page.expect_response("**/v1/feedback") as response:
        page.get_by_role("button", name="Send").click()
    assert response.value.ok
    chromium.give_back(page)
    with example.store as store:
        feedback = {item.kind: item for item in store.case(answer).feedback}
    assert feedback["label"].good
    assert feedback["edit"].text == "We open at ten."
    assert {item.annotator.id for item in feedback.values()} == {"bo"}


def test_the_pages_show_the_example(example, chromium):
    with example.store as store:
        learned_from = example.names["interactions"]
        edited = next(id_ for id_ in learned_from if len(store.case(id_).feedback) == 2)
        served = active_policy(store).label
    page = chromium.take()
    page.set_viewport_size(DESKTOP)
    page.goto(f"{example.url}/login")
    page.get_by_label("Name").fill("ada")
    page.get_by_role("button", name="Continue").click()
    for path, name, shown in (
        (f"/interactions/{edited}", "interaction", "Edit"),
        ("/experiments/better", "experiment", served),
        ("/policies", "policies", "tuned"),
    ):
        page.goto(f"{example.url}{path}")
        assert page.get_by_text(shown).count()
        if SCREENSHOTS:
            page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png", full_page=True)
    chromium.give_back(page)


def test_one_command_rolls_back(example):
    example.names |= example.reader.run_part(example.rest)
    with example.store as store:
        assert active_policy(store).label == "plain"
