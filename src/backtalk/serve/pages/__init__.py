"""The pages for people: server-rendered, usable by keyboard and on a phone, nothing from elsewhere.

A module of a section makes a :class:`~backtalk.serve.pages.section.Section` called ``section``,
registers handlers with it, and is listed in ``MODULES``. A handler gets a
:class:`~backtalk.serve.pages.page_request.PageRequest` on a thread of its own and returns
``visit.page(template, title=..., **what_the_template_needs)`` or ``visit.redirect(address)``; what
it raises as ``BacktalkError`` or ``APIError`` becomes a page that says so. Addresses are made with
``visit.url(path, *ids, **query)``, which keeps the project. Templates extend ``base.html`` and
``{% import "_macros.html" as ui with context %}``. No template has a script or a style of its own:
the Content-Security-Policy allows files of ``static/`` only.
"""

from __future__ import annotations

from importlib import import_module

from fastapi import FastAPI

from backtalk.serve.pages import login as signing_in
from backtalk.serve.pages.rendering import static
from backtalk.serve.pages.section import Section, make_endpoint

MODULES = (
    "inbox",
    "interactions",
    "policies",
    "experiments",
    "reports",
    "people",
    "settings",
)
"""The sections, in the order of the navigation."""


def add_to(app: FastAPI) -> None:
    """Add the pages to the gateway."""
    results: list[Section] = [import_module(f"{__name__}.{name}").section for name in MODULES]
    app.state.sections = results
    for section in (signing_in.section, *results):
        for route in section.routes:
            app.add_api_route(
                route.path,
                make_endpoint(route),
                methods=[route.method],
                response_model=None,
                include_in_schema=False,
            )
    app.add_api_route(
        "/static/{digest}/{name}",
        static,
        methods=["GET"],
        response_model=None,
        include_in_schema=False,
    )
