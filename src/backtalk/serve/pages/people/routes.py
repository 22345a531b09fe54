"""Routes of the page People: number, speed and agreement of annotators' judgements."""

from __future__ import annotations

from starlette.responses import Response

from backtalk.annotation.annotator_stats import AnnotationStats, compute_annotation_stats
from backtalk.errors import NotFound
from backtalk.serve.pages.page_request import PageRequest
from backtalk.serve.pages.section import Section
from backtalk.store.judgements import LATEST, judgement_seconds, latest_judgements

section = Section("/people", "People", "view")


@section.get()
def listing(request: PageRequest) -> Response:
    """Show all annotators of the latest judgements, with their agreement."""
    return request.page(
        "people/list.html", title="People", statistics=_statistics(request), latest=LATEST
    )


@section.get("/{name:path}")
def show(request: PageRequest) -> Response:
    """Show one annotator by week."""
    name = request.part("name")
    people = _statistics(request).people
    person = next((person for person in people if person.name == name), None)
    if person is None:
        raise NotFound(
            f"There is no annotator {name!r} among those with the most recent judgements"
        )
    return request.page("people/detail.html", title=person.name, person=person)


def _statistics(request: PageRequest) -> AnnotationStats:
    return compute_annotation_stats(
        latest_judgements(request.store), judgement_seconds(request.store)
    )
