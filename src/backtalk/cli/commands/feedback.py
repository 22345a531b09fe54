"""``backtalk feedback``: feedback on one interaction, in short forms."""

from __future__ import annotations

from typing import Annotated

import typer

from backtalk.cli.options import PROJECT, STORE, JsonOption, ProjectOption, StoreOption


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the command to a help panel."""
    app.command("feedback", rich_help_panel=panel)(feedback)


def feedback(
    interaction: Annotated[
        str,
        typer.Argument(help="Interaction: its id, a unique beginning of it, or `last`."),
    ],
    *,
    thumb: Annotated[str | None, typer.Option(help="Good or bad: + or -.")] = None,
    rating: Annotated[
        str | None, typer.Option(help="Rating, such as 4/5, 7/10 or 80%; 4 is 4 of 5 stars.")
    ] = None,
    prefer: Annotated[
        str | None,
        typer.Option(help="The better of two answers, by its number; or tie, or both_bad."),
    ] = None,
    over: Annotated[
        str | None,
        typer.Option(help="The other answer, if it is not the other one of answers 0 and 1."),
    ] = None,
    edit: Annotated[str | None, typer.Option(help="The answer as it should be.")] = None,
    comment: Annotated[str | None, typer.Option(help="A remark on the answer.")] = None,
    response: Annotated[
        str | None, typer.Option(help="Number of the answer, if there are several. Default: 0.")
    ] = None,
    aspect: Annotated[
        str | None, typer.Option(help="Aspect of the thumb, the rating or the comparison.")
    ] = None,
    user: Annotated[str, typer.Option(help="Name of the person. Default: your user name.")] = "",
    store: StoreOption = STORE,
    project: ProjectOption = PROJECT,
    json: JsonOption = False,
) -> None:
    """Add feedback on one interaction; without feedback, show it with its answers.

    Examples
    --------
    - `backtalk ask "When do you open?" --keep`
    - `backtalk feedback last`
    - `backtalk feedback last --rating 4/5`
    - `backtalk feedback last --thumb - --comment "It does not say until when."`
    - `backtalk feedback 0193a5b2 --prefer 1`
    """
    from backtalk.cli.context import opened, user_name
    from backtalk.cli.output import say, say_json
    from backtalk.feedback import short_feedback
    from backtalk.feedback.describe import describe_feedback
    from backtalk.feedback.short_forms import SHORT_FORMS
    from backtalk.formats.preview import case_lines
    from backtalk.store.detail import find_interaction

    values = {
        "thumb": thumb, "rating": rating, "prefer": prefer, "edit": edit, "comment": comment,
    }  # fmt: skip
    common = {"response": response, "aspect": aspect, "over": over}
    forms = [name for name, value in values.items() if value is not None]
    _check_common(forms, common)
    with opened(store, project) as db:
        case = db.case(find_interaction(db, interaction))
        items = [
            short_feedback(
                case.interaction,
                user=user or user_name(),
                **{name: values[name]},
                **{
                    field: value
                    for field, value in common.items()
                    if value is not None and field in SHORT_FORMS[name].fields
                },
            )
            for name in forms
        ]
        if items:
            db.add(*items)
    if json:
        say_json(
            [item.to_dict() for item in items]
            if items
            else {
                "interaction": case.interaction.to_dict(),
                "feedback": [item.to_dict() for item in case.feedback],
            }
        )
        return
    for line in [describe_feedback(item) for item in items] or case_lines(case):
        say(line)


def _check_common(forms: list[str], common: dict[str, str | None]) -> None:
    """Refuse options that no feedback of the command has."""
    from backtalk.errors import BacktalkError
    from backtalk.feedback.short_forms import SHORT_FORMS

    for field, value in common.items():
        having = [name for name, form in SHORT_FORMS.items() if field in form.fields]
        if value is not None and not set(having) & set(forms):
            raise BacktalkError(
                f"--{field} has no effect alone",
                "Give one of " + ", ".join(f"--{name}" for name in having),
            )
