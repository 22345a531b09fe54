"""``backtalk methods``: learning methods, and whether a store has what they need."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backtalk.cli.options import PROJECT, STORE, AspectOption, JsonOption, ProjectOption

if TYPE_CHECKING:
    from backtalk.learn import Method, MethodAvailability, MethodDescription


NO_POLICY = (
    "The store has no policy yet, which each method needs: `backtalk policy add FILE` adds one. "
    "Training needs one with a local model"
)


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the command to a help panel."""
    app.command("methods", rich_help_panel=panel)(methods)


def methods(
    name: Annotated[
        str | None,
        typer.Argument(help="Method to document: formula, paper, options, requirements, example."),
    ] = None,
    *,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            "-s",
            envvar="BACKTALK_STORE",
            help=f"Store to check for what the methods need. Default: {STORE} if it exists.",
        ),
    ] = None,
    aspect: AspectOption = "overall",
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """List methods and whether they can run on a store, or document one method.

    A method can run if the training prompts have feedback that it finds something to learn from,
    its packages are installed, and a policy of the store fits: training needs a local model.
    Feedback is counted on the training prompts; one fifth of all prompts is held out.

    Examples
    --------
    - `backtalk methods --store mail.db`
    - `backtalk methods --aspect safety`
    - `backtalk methods dpo`
    """
    from pathlib import Path

    from backtalk.cli.context import opened
    from backtalk.cli.output import say, say_json, say_table
    from backtalk.learn import METHODS, TrainingSet, available_methods, get_method
    from backtalk.learn.missing_feedback import FeedbackCounts, held_out_remark
    from backtalk.policy import list_policies

    if name is not None:
        get_method(name)
    items: dict[str, MethodAvailability] = {}
    remarks: list[str] = []
    if store is not None or Path(STORE).exists():
        with opened(store or STORE, project) as db:
            items = {item.method.name: item for item in available_methods(db, aspect=aspect)}
            remarks = [
                held_out_remark(FeedbackCounts.of(TrainingSet(db, aspect=aspect))),
                "" if list_policies(db) else NO_POLICY,
            ]
    if name is not None:
        _show(get_method(name), items.get(name), json=json)
        return
    if json:
        say_json([_to_dict(method, items.get(method.name)) for method in METHODS.values()])
        return
    if not items:
        say_table(
            ("method", "target", "summary"),
            [(method.name, method.target, method.summary) for method in METHODS.values()],
        )
        return
    say_table(
        ("method", "target", "can run", "feedback", "missing"),
        [
            (
                item.method.name,
                item.method.target,
                "yes" if item.available else "no",
                ", ".join(_count(item, kind) for kind in item.kinds),
                "; ".join(item.reasons),
            )
            for item in items.values()
        ],
    )
    say()
    for remark in filter(None, remarks):
        say(f"{remark}.")
    say("`backtalk methods NAME` documents a method.")


def _count(item: MethodAvailability, kind: str) -> str:
    count = max(source.count for source in item.sources if source.kind == kind)
    return f"{kind} ({count:,})"


def _to_dict(method: Method, item: MethodAvailability | None) -> dict[str, Any]:
    documentation: dict[str, Any] = {
        "name": method.name,
        "target": method.target,
        "summary": method.summary,
        "paper": str(method.paper),
        "url": method.paper.url,
        "needs": [need.__name__ for need in method.needs],
        "kinds": method.kinds,
        "options": dict(method.options),
    }
    if item is None:
        return documentation
    return {
        **documentation,
        "available": item.available,
        "reasons": list(item.reasons),
        "sources": [vars(source) for source in item.sources],
        # Names of the previous version, for one version.
        "place": method.target,
        "ready": item.available,
        "drivers": list(item.kinds),
        "missing": "; ".join(item.reasons),
    }


def _show(method: Method, item: MethodAvailability | None, *, json: bool) -> None:
    from dataclasses import asdict

    from backtalk.cli.output import say, say_json, say_table

    about = method.describe()
    if json:
        options = [asdict(option) for option in about.options]
        say_json({**_to_dict(method, item), "formula": about.formula, "option_details": options})
        return
    say(f"{about.name}: {about.summary}")
    if about.details:
        say()
        say(_plain(about.details))
    say()
    say_table(("", ""), _facts(about, item))
    say()
    say_table(
        ("option", "type", "default", "meaning"),
        [
            (
                option.name,
                option.type,
                "" if option.default is None else str(option.default),
                _plain(option.meaning),
            )
            for option in about.options
        ],
    )
    say()
    say("Example")
    say(f"  {about.example}")


def _plain(text: str) -> str:
    """Return reStructuredText as plain text.

    >>> _plain("The default, see :func:`~a.b.rate`, is ``None``::")
    'The default, see rate, is None:'
    """
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"\1", text)
    return text.replace("::", ":").replace("``", "")


def _facts(about: MethodDescription, item: MethodAvailability | None) -> list[tuple[str, str]]:
    facts = [
        ("target", about.target),
        ("formula", about.formula),
        ("paper", f"{about.paper}  {about.paper.url}".rstrip()),
        ("needs", "; ".join(about.requires)),
    ]
    if item is not None:
        state = "yes" if item.available else f"no: needs {'; '.join(item.reasons)}"
        facts.append(("can run here", state))
    return [(name, text) for name, text in facts if text]
