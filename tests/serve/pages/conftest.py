"""Gateway with its pages, and a headless Chromium."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from backtalk.serve import Settings
from backtalk.serve.pages.sessions import sessions_for
from backtalk.store import Store
from backtalk.store.api_keys import hash_secret
from tests.serve.conftest import Gateway, running_gateway

DESKTOP = {"width": 1280, "height": 720}
PHONE = {"width": 360, "height": 740}
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]

XSS = [
    "<script>window.__xss = 1</script>",
    '"><img src=x onerror="window.__xss = 2">',
    "javascript:window.__xss=3",
    "'-(window.__xss=4)-'",
    "</textarea></script><svg onload=window.__xss=5>",
    "{{ 7 * 7 }}${window.__xss=6}",
]
"""Texts that would set ``window.__xss`` if a page ran them."""
HOSTILE = " ".join(XSS)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Browser; tests that need it are skipped without a Chromium.

    It is closed after each module: while it runs, its thread can run no other event loop.
    """
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no chromium on the PATH")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as api:
        browser = api.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield PagePool(browser)
        browser.close()


class PagePool:
    """Pool of browser pages, because opening one takes longer than most tests.

    Each page has its own cookies, which are cleared after use.
    """

    def __init__(self, browser: Any) -> None:
        self._browser = browser
        self._idle: list[Any] = []

    def take(self) -> Any:
        if self._idle:
            return self._idle.pop()
        page = self._browser.new_context().new_page()
        page.set_default_timeout(10_000)
        return page

    def give_back(self, page: Any) -> None:
        page.evaluate("() => localStorage.clear()")
        page.context.clear_cookies()
        page.emulate_media(color_scheme="light", reduced_motion="no-preference")
        self._idle.append(page)


class SitePage:
    """Browser page with URLs relative to a site; other attributes are the page's."""

    def __init__(self, page: Any, url: str) -> None:
        self._page = page
        self._url = url
        self._listeners: list[tuple[str, Any]] = []
        self.problems: list[str] = []
        self.on("pageerror", lambda error: self.problems.append(str(error)))
        self.on("console", lambda line: line.type == "error" and self.problems.append(line.text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._page, name)

    def goto(self, path: str) -> Any:
        return self._page.goto(self._url + path)

    def post(self, path: str, form: dict[str, str]) -> Any:
        """Submit a form outside the page, with its cookies."""
        return self._page.request.post(self._url + path, form=form)

    def on(self, event: str, listener: Any) -> None:
        self._listeners.append((event, listener))
        self._page.on(event, listener)

    def close(self) -> None:
        for event, listener in self._listeners:
            self._page.remove_listener(event, listener)


@dataclass
class Site:
    """Gateway and browser."""

    gateway: Gateway
    pages: PagePool

    @property
    def url(self) -> str:
        return self.gateway.url

    @property
    def store(self) -> Store:
        return self.gateway.store

    @contextmanager
    def open_page(self, name: str = "ada", *, viewport: dict[str, int] = DESKTOP) -> Iterator[Any]:
        """Open a page for a user who signed in with a name, or with a key that begins with ``bt-``.

        Without a name the user is not signed in.
        """
        page = self.pages.take()
        page.set_viewport_size(viewport)
        if name:
            page.context.add_cookies([self.cookie(name)])
        site_page = SitePage(page, self.url)
        try:
            yield site_page
        finally:
            site_page.close()
        self.pages.give_back(page)

    def cookie(self, name: str) -> dict[str, str]:
        """Return the session cookie of a user."""
        folder = self.gateway.settings.state_folder
        sessions = sessions_for(folder)
        if name.startswith("bt-"):
            session = sessions.new_session(digest=hash_secret(name))
        else:
            session = sessions.new_session(name=name)
        return {"name": "backtalk", "value": sessions.cookie(session), "url": self.url}


def key_for(settings: Settings, name: str, role: str, project: str | None = None) -> str:
    """Create a key before the gateway starts, and return its secret."""
    with Store(settings.store) as store:
        return store.api_keys.add(name, role, project=project, actor="tests")[1]


@pytest.fixture
def site(settings: Settings, chromium: Any) -> Iterator[Site]:
    """Site that does not require keys."""
    with running_gateway(settings) as gateway:
        yield Site(gateway, chromium)


@pytest.fixture
def keyed_settings(settings: Settings) -> Settings:
    """Settings of a gateway that requires keys."""
    return settings.model_copy(update={"keys": "always"})


def axe_violations(page: Any) -> list[str]:
    """Return the violations of WCAG A and AA that axe-core reports, with both colour schemes."""
    from axe_playwright_python.base import AXE_SCRIPT

    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    violations = _violations(page, {"type": "tag", "values": TAGS})
    page.emulate_media(color_scheme="dark")
    violations += _violations(page, {"type": "rule", "values": ["color-contrast"]})
    page.emulate_media(color_scheme="light")
    return violations


def _violations(page: Any, only: dict[str, Any]) -> list[str]:
    violations = page.evaluate(
        "only => axe.run({runOnly: only, resultTypes: ['violations']}).then(r => r.violations)",
        only,
    )
    return [
        f"{item['id']}: {node['html']} {node['failureSummary']}"
        for item in violations
        for node in item["nodes"]
    ]


def overflowing_elements(page: Any) -> list[str]:
    """Return the elements that are wider than a phone's screen, so that the page would scroll."""
    page.set_viewport_size(PHONE)
    return page.evaluate(
        """() => {
          const clips = e => getComputedStyle(e).overflowX !== 'visible';
          const inside = e => e && e !== document.body && (clips(e) || inside(e.parentElement));
          const wide = e => e.getBoundingClientRect().right > window.innerWidth + 1;
          if (document.documentElement.scrollWidth <= window.innerWidth) return [];
          return ['the page', ...[...document.querySelectorAll('body *')]
            .filter(e => wide(e) && !inside(e.parentElement)).map(e => e.outerHTML.slice(0, 200))];
        }"""
    )


def save_screenshot(page: Any, name: str) -> None:
    """Save a screenshot in the folder ``BACKTALK_SCREENSHOTS``, if it is set."""
    if folder := os.environ.get("BACKTALK_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def is_harmless(page: Any) -> bool:
    """Return true if no hostile text was run as a script."""
    return page.evaluate("window.__xss === undefined")
