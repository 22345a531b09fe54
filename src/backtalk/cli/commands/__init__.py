"""Commands, one module each, in the help panels in which they are listed."""

from __future__ import annotations

from importlib import import_module

import typer

PANELS = {
    "Learn": (
        "import_",
        "methods",
        "preflight",
        "learn",
        "learn_online",
        "watch",
        "evaluate",
        "compare",
        "promote",
        "rollback",
        "serve",
        "ask",
    ),
    "Manage": ("policy", "evaluation", "experiment", "task", "job", "key", "reward"),
    "Data": ("status", "leaderboard", "export", "delete", "purge", "schema"),
    "Sandbox": ("simulate", "demo"),
}
"""Modules of the commands in each help panel, in the order of the help."""


def register(app: typer.Typer) -> None:
    """Add all commands to the app."""
    for panel, modules in PANELS.items():
        for name in modules:
            import_module(f"{__name__}.{name}").add_to(app, panel)
