"""Where people judge: the list of tasks, the next item, what they answer, and taking it back."""

from __future__ import annotations

from starlette.responses import Response

from backtalk.annotation.assignments import Assignments
from backtalk.annotation.tasks import TaskStatus, list_tasks, read_task
from backtalk.errors import Conflict, NotFound, RecordError
from backtalk.feedback.case import Case
from backtalk.serve.pages.inbox.form_parsing import normalise_lines, parse_form
from backtalk.serve.pages.inbox.questions import (
    TASK_TITLES,
    Question,
    make_question,
    split_steps,
    split_tokens,
)
from backtalk.serve.pages.inbox.submit import submit
from backtalk.serve.pages.page_request import PageRequest
from backtalk.serve.pages.section import Section

section = Section("/inbox", "Inbox", "judge")


@section.get()
def tasks(visit: PageRequest) -> Response:
    """List the tasks, with how far they are."""
    results = list_tasks(visit.store)
    progress = {
        listed.task.id: Assignments(visit.store, listed.task).progress(visit.name)
        for listed in results
        if listed.open
    }
    return visit.page(
        "inbox/tasks.html", title="Inbox", tasks=results, progress=progress, words=TASK_TITLES
    )


@section.get("/{task}")
def item(visit: PageRequest) -> Response:
    """Show what to judge next."""
    listed = _task_status(visit)
    if not listed.open:
        return _finished_page(visit, listed)
    question = _next_question(visit, listed)
    return _finished_page(visit, listed) if question is None else _question_page(visit, question)


@section.post("/{task}/answer")
def answer(visit: PageRequest) -> Response:
    """Keep what was answered, and go on."""
    listed = _open_task(visit)
    assigned = Assignments(visit.store, listed.task)
    id_ = visit.form.text("interaction")
    try:
        held = assigned.renew(id_, visit.name)
    except Conflict:
        if assigned.is_done(id_, visit.name):
            return _next_item(visit)  # the form was sent twice
        raise
    question = make_question(listed.task, visit.store.interaction(id_), held)
    try:
        feedback = parse_form(question, visit.form)
        submit(visit.services, visit.project, feedback)
    except RecordError as error:
        return _question_page(visit, question, error=str(error))
    assigned.complete(id_, visit.name, "done")
    return _next_item(visit)


@section.post("/{task}/skip")
def skip(visit: PageRequest) -> Response:
    """Leave an item to somebody else."""
    assigned = Assignments(visit.store, _open_task(visit).task)
    id_ = visit.form.text("interaction")
    assigned.renew(id_, visit.name)
    assigned.complete(id_, visit.name, "skipped")
    return _next_item(visit)


@section.post("/{task}/undo")
def undo(visit: PageRequest) -> Response:
    """Take back what was answered or skipped last, and ask it again."""
    listed = _open_task(visit)
    assigned = Assignments(visit.store, listed.task)
    last = assigned.last(visit.name)
    if last is None:
        raise NotFound("There is nothing to undo", "You have judged nothing here yet")
    assigned.reopen(last.interaction, visit.name)
    for id_ in _answered_ids(visit, listed, visit.store.case(last.interaction)):
        visit.store.delete(id_)
    return _next_item(visit)


@section.post("/{task}/changes")
def changes(visit: PageRequest) -> Response:
    """Show what a rewrite changes, while it is written."""
    listed = _open_task(visit)
    id_ = visit.form.text("interaction")
    mine = Assignments(visit.store, listed.task).renew(id_, visit.name)
    question = make_question(listed.task, visit.store.interaction(id_), mine)
    return visit.page(
        "inbox/_changes.html",
        before=normalise_lines(question.shown[0].text),
        after=visit.form.text("text"),
    )


def _task_status(visit: PageRequest) -> TaskStatus:
    return read_task(visit.store, visit.part("task"))


def _open_task(visit: PageRequest) -> TaskStatus:
    listed = _task_status(visit)
    if not listed.open:
        raise Conflict(f"The task {listed.task.name!r} is closed", "Choose another one")
    return listed


def _next_question(visit: PageRequest, listed: TaskStatus) -> Question | None:
    """Return what is next; an answer that was kept as the gateway died is taken note of."""
    assigned = Assignments(visit.store, listed.task)
    while (result := assigned.next(visit.name)) is not None:
        case = visit.store.case(result.interaction)
        if not _answered_ids(visit, listed, case):
            return make_question(listed.task, case.interaction, result)
        assigned.complete(result.interaction, visit.name, "done")
    return None


def _answered_ids(visit: PageRequest, listed: TaskStatus, case: Case) -> list[str]:
    """Return the ids of what the visitor answered to this task about an item."""
    return [
        item.id
        for item in case.feedback
        if item.annotator.id == visit.name and item.metadata.get("task") == listed.task.id
    ]


def _question_page(visit: PageRequest, question: Question, *, error: str = "") -> Response:
    task = question.task
    assigned = Assignments(visit.store, task)
    response = question.shown[0].text
    return visit.page(
        f"inbox/{task.kind}.html",
        status=422 if error else 200,
        title=task.name,
        task=task,
        question=question,
        progress=assigned.progress(visit.name),
        last=assigned.last(visit.name),
        wrong=error,
        plain=normalise_lines(response),
        steps=split_steps(response) if task.kind == "steps" else (),
        tokens=split_tokens(response) if task.kind == "spans" else (),
    )


def _finished_page(visit: PageRequest, listed: TaskStatus) -> Response:
    assigned = Assignments(visit.store, listed.task)
    return visit.page(
        "inbox/through.html",
        title=listed.task.name,
        listed=listed,
        progress=assigned.progress(visit.name),
        last=assigned.last(visit.name),
    )


def _next_item(visit: PageRequest) -> Response:
    return visit.redirect(visit.url("/inbox", visit.part("task")))
