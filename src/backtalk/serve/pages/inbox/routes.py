"""Routes of the inbox: tasks, the next item, answers, skip and undo."""

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
def tasks(request: PageRequest) -> Response:
    """List the tasks, with their progress."""
    results = list_tasks(request.store)
    progress = {
        listed.task.id: Assignments(request.store, listed.task).progress(request.name)
        for listed in results
        if listed.open
    }
    return request.page(
        "inbox/tasks.html", title="Inbox", tasks=results, progress=progress, titles=TASK_TITLES
    )


@section.get("/{task}")
def item(request: PageRequest) -> Response:
    """Show the next item to judge."""
    listed = _task_status(request)
    if not listed.open:
        return _finished_page(request, listed)
    question = _next_question(request, listed)
    return (
        _finished_page(request, listed) if question is None else _question_page(request, question)
    )


@section.post("/{task}/answer")
def answer(request: PageRequest) -> Response:
    """Save the submitted feedback, and show the next item."""
    listed = _open_task(request)
    assigned = Assignments(request.store, listed.task)
    id_ = request.form.text("interaction")
    try:
        held = assigned.renew(id_, request.name)
    except Conflict:
        if assigned.is_done(id_, request.name):
            return _next_item(request)  # the form was submitted twice
        raise
    question = make_question(listed.task, request.store.interaction(id_), held)
    try:
        feedback = parse_form(question, request.form)
        submit(request.services, request.project, feedback)
    except RecordError as error:
        return _question_page(request, question, error=str(error))
    assigned.complete(id_, request.name, "done")
    return _next_item(request)


@section.post("/{task}/skip")
def skip(request: PageRequest) -> Response:
    """Skip an item, which another person may judge."""
    assigned = Assignments(request.store, _open_task(request).task)
    id_ = request.form.text("interaction")
    assigned.renew(id_, request.name)
    assigned.complete(id_, request.name, "skipped")
    return _next_item(request)


@section.post("/{task}/undo")
def undo(request: PageRequest) -> Response:
    """Delete the last answer or skip, and show its item again."""
    listed = _open_task(request)
    assigned = Assignments(request.store, listed.task)
    last = assigned.last(request.name)
    if last is None:
        raise NotFound("There is nothing to undo", "Judge an item first")
    assigned.reopen(last.interaction, request.name)
    for id_ in _answered_ids(request, listed, request.store.case(last.interaction)):
        request.store.delete(id_)
    return _next_item(request)


@section.post("/{task}/changes")
def changes(request: PageRequest) -> Response:
    """Show the changes of a rewrite while it is being written."""
    listed = _open_task(request)
    id_ = request.form.text("interaction")
    mine = Assignments(request.store, listed.task).renew(id_, request.name)
    question = make_question(listed.task, request.store.interaction(id_), mine)
    return request.page(
        "inbox/_changes.html",
        before=normalise_lines(question.shown[0].text),
        after=request.form.text("text"),
    )


def _task_status(request: PageRequest) -> TaskStatus:
    return read_task(request.store, request.part("task"))


def _open_task(request: PageRequest) -> TaskStatus:
    listed = _task_status(request)
    if not listed.open:
        raise Conflict(f"The task {listed.task.name!r} is closed", "Choose another task")
    return listed


def _next_question(request: PageRequest, listed: TaskStatus) -> Question | None:
    """Return the next question; complete items that were answered just before a crash."""
    assigned = Assignments(request.store, listed.task)
    while (result := assigned.next(request.name)) is not None:
        case = request.store.case(result.interaction)
        if not _answered_ids(request, listed, case):
            return make_question(listed.task, case.interaction, result)
        assigned.complete(result.interaction, request.name, "done")
    return None


def _answered_ids(request: PageRequest, listed: TaskStatus, case: Case) -> list[str]:
    """Return the ids of the user's feedback on an item for this task."""
    return [
        item.id
        for item in case.feedback
        if item.annotator.id == request.name and item.metadata.get("task") == listed.task.id
    ]


def _question_page(request: PageRequest, question: Question, *, error: str = "") -> Response:
    task = question.task
    assigned = Assignments(request.store, task)
    response = question.shown[0].text
    return request.page(
        f"inbox/{task.kind}.html",
        status=422 if error else 200,
        title=task.name,
        task=task,
        question=question,
        progress=assigned.progress(request.name),
        last=assigned.last(request.name),
        error=error,
        text=normalise_lines(response),
        steps=split_steps(response) if task.kind == "steps" else (),
        tokens=split_tokens(response) if task.kind == "spans" else (),
    )


def _finished_page(request: PageRequest, listed: TaskStatus) -> Response:
    assigned = Assignments(request.store, listed.task)
    return request.page(
        "inbox/through.html",
        title=listed.task.name,
        status=listed,
        progress=assigned.progress(request.name),
        last=assigned.last(request.name),
    )


def _next_item(request: PageRequest) -> Response:
    return request.redirect(request.url("/inbox", request.part("task")))
