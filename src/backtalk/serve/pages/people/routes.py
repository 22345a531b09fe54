"""The people who judge: how much, how fast, how far they agree, and whether that changes."""

from __future__ import annotations

from starlette.responses import Response

from backtalk.annotation.annotator_stats import AnnotationStats, compute_annotation_stats
from backtalk.errors import NotFound
from backtalk.serve.pages.page_request import PageRequest
from backtalk.serve.pages.section import Section
from backtalk.store.judgements import LATEST, judgement_seconds, latest_judgements

section = Section("/people", "People", "view")


@section.get()
def everybody(visit: PageRequest) -> Response:
    """Show everybody who judged lately, and how far they agree."""
    return visit.page("people/all.html", title="People", found=_figures(visit), latest=LATEST)


@section.get("/{name:path}")
def one(visit: PageRequest) -> Response:
    """Show one person, week by week."""
    name = visit.part("name")
    person = next((result for result in _figures(visit).people if result.name == name), None)
    if person is None:
        raise NotFound(f"Nobody called {name!r} is among those who judged most lately")
    return visit.page("people/one.html", title=person.name, person=person)


def _figures(visit: PageRequest) -> AnnotationStats:
    return compute_annotation_stats(
        latest_judgements(visit.store), judgement_seconds(visit.store)
    )
