"""Pages for people: server-rendered, usable by keyboard and on a phone, without external files.

A package of a page defines a :class:`~backtalk.serve.pages.section.Section` called ``section``,
registers handlers with it, and is listed in ``MODULES``. A handler takes a
:class:`~backtalk.serve.pages.page_request.PageRequest`, runs on a thread, and returns
``request.page(template, title=..., **variables)`` or ``request.redirect(url)``; a ``BacktalkError``
or ``APIError`` that it raises becomes an error page. URLs are made with
``request.url(path, *ids, **query)``, which keeps the project. Templates extend ``base.html`` and
``{% import "_macros.html" as ui with context %}``. No template has inline scripts or styles: the
Content-Security-Policy allows files of ``static/`` only.
"""

from __future__ import annotations

from importlib import import_module

from fastapi import FastAPI

from backtalk.serve.pages import login
from backtalk.serve.pages.rendering import static
from backtalk.serve.pages.section import Section, make_endpoint

MODULES = (
    "inbox",
    "learned",
    "interactions",
    "policies",
    "prompts",
    "memory",
    "experiments",
    "reports",
    "people",
    "settings",
)
"""Packages of the sections, in the order of the navigation."""


def add_to(app: FastAPI) -> None:
    """Add the routes of the pages to the gateway."""
    sections: list[Section] = [import_module(f"{__name__}.{name}").section for name in MODULES]
    app.state.sections = sections
    for section in (login.section, *sections):
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
