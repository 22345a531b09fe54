"""``backtalk methods``: what can learn from the feedback in a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from backtalk.cli.options import PROJECT, STORE, JsonOption, ProjectOption

if TYPE_CHECKING:
    from backtalk.learn import Method, MethodAvailability


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the command to a help panel."""
    app.command("methods", rich_help_panel=panel)(methods)


def methods(
    name: Annotated[str | None, typer.Argument(help="Show one method with its options.")] = None,
    *,
    store: Annotated[
        str | None,
        typer.Option(
            "--store", "-s", envvar="BACKTALK_STORE", help=f"Which store; {STORE} if it exists."
        ),
    ] = None,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """List the methods, and say which can run on the feedback in a store.

    Examples
    --------
    - `backtalk methods --store mail.db`
    - `backtalk methods best-of-n`
    """
    from pathlib import Path

    from backtalk.cli.context import opened
    from backtalk.cli.output import say, say_json, say_table
    from backtalk.learn import METHODS, available_methods, get_method

    if name is not None:
        _show(get_method(name), json=json)
        return
    if store is None and not Path(STORE).exists():
        if json:
            say_json([_described(method) for method in METHODS.values()])
        else:
            say_table(
                ("method", "learns in", "what it does"),
                [(method.name, method.target, method.summary) for method in METHODS.values()],
            )
        return
    with opened(store or STORE, project) as db:
        results = available_methods(db)
    if json:
        say_json([_available(item) for item in results])
        return
    say_table(
        ("method", "learns in", "can run", "driven by", "missing"),
        [
            (
                item.method.name,
                item.method.target,
                "yes" if item.ready else "no",
                ", ".join(_driver(item, kind) for kind in item.drivers),
                item.missing,
            )
            for item in results
        ],
    )
    say()
    say("`backtalk methods NAME` shows a method with its options.")


def _driver(item: MethodAvailability, kind: str) -> str:
    count = max(way.count for way in item.ways if way.kind == kind)
    return f"{kind} ({count:,})"


def _described(method: Method) -> dict[str, Any]:
    return {
        "name": method.name,
        "place": method.target,
        "summary": method.summary,
        "paper": str(method.paper),
        "url": method.paper.url,
        "needs": [need.__name__ for need in method.needs],
        "kinds": method.kinds,
        "options": method.options,
    }


def _available(item: MethodAvailability) -> dict[str, Any]:
    return {
        **_described(item.method),
        "ready": item.ready,
        "drivers": list(item.drivers),
        "ways": [vars(way) for way in item.ways],
        "missing": item.missing,
    }


def _show(method: Method, *, json: bool) -> None:
    import inspect

    from backtalk.cli.output import say, say_json, say_table

    if json:
        say_json(_described(method))
        return
    say(f"{method.name}: {method.summary}")
    say(f"{method.paper}  {method.paper.url}")
    say(f"Learns in: {method.target}. Driven by: {', '.join(method.kinds)}.")
    say()
    say_table(("option", "default"), [(key, str(value)) for key, value in method.options.items()])
    say()
    say(inspect.getdoc(method.function) or "")
