"""The commands, one file each."""

from __future__ import annotations

from importlib import import_module

import typer

MODULES = (
    "import_",
    "status",
    "methods",
    "preflight",
    "learn",
    "jobs",
    "crossval",
    "evaluate",
    "compare",
    "leaderboard",
    "promote",
    "rollback",
    "experiment",
    "estimate",
    "report",
    "respond",
    "policy",
    "export",
    "delete",
    "purge",
    "schema",
    "serve",
    "keys",
    "inbox",
    "simulate",
    "demo",
)


def register(app: typer.Typer) -> None:
    """Add all commands to the app, in the order in which the help lists them."""
    for name in MODULES:
        import_module(f"{__name__}.{name}").add_to(app)
