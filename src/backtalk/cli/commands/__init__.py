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
        "feedback",
    ),
    "Manage": (
        "models",
        "policy",
        "memory",
        "evaluation",
        "experiment",
        "task",
        "job",
        "key",
        "judge",
        "reward",
    ),
    "Data": ("status", "leaderboard", "export", "delete", "purge", "schema"),
    "Sandbox": ("simulate", "demo"),
}
"""Modules of the commands in each help panel, in the order of the help."""


def register(app: typer.Typer, command: str | None = None) -> None:
    """Add commands to the app.

    Parameters
    ----------
    app : typer.Typer
        App to add the commands to.
    command : str, optional
        Name of the only command that is needed, so that the modules of the others are not
        imported. All commands are added if there is no such command.
    """
    entries = [(panel, name) for panel, modules in PANELS.items() for name in modules]
    needed = [(panel, name) for panel, name in entries if _command_name(name) == command]
    for panel, name in needed or entries:
        import_module(f"{__name__}.{name}").add_to(app, panel)


def _command_name(module: str) -> str:
    return module.rstrip("_").replace("_", "-")
