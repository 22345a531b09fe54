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
def listing(request: PageRequest) -> Response:
    """Show everybody who judged lately, and how far they agree."""
    return request.page(
        "people/all.html", title="People", statistics=_statistics(request), latest=LATEST
    )


@section.get("/{name:path}")
def one(request: PageRequest) -> Response:
    """Show one person, week by week."""
    name = request.part("name")
    person = next((result for result in _statistics(request).people if result.name == name), None)
    if person is None:
        raise NotFound(f"Nobody called {name!r} is among those who judged most lately")
    return request.page("people/one.html", title=person.name, person=person)


def _statistics(request: PageRequest) -> AnnotationStats:
    return compute_annotation_stats(
        latest_judgements(request.store), judgement_seconds(request.store)
    )
