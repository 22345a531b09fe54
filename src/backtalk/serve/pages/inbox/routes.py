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
    statuses = list_tasks(request.store)
    progress = {
        status.task.id: Assignments(request.store, status.task).progress(request.name)
        for status in statuses
        if status.open
    }
    identical = {
        status.task.id: Assignments(request.store, status.task).count_identical()
        for status in statuses
        if status.open
    }
    return request.page(
        "inbox/tasks.html",
        title="Inbox",
        tasks=statuses,
        progress=progress,
        identical=identical,
        titles=TASK_TITLES,
    )


@section.get("/{task}")
def item(request: PageRequest) -> Response:
    """Show the next item to judge."""
    status = _task_status(request)
    if not status.open:
        return _finished_page(request, status)
    question = _next_question(request, status)
    if question is None:
        return _finished_page(request, status)
    return _question_page(request, question)


@section.post("/{task}/answer")
def answer(request: PageRequest) -> Response:
    """Save the submitted feedback, and show the next item."""
    status = _open_task(request)
    assignments = Assignments(request.store, status.task)
    id_ = request.form.text("interaction")
    try:
        assignment = assignments.renew(id_, request.name)
    except Conflict:
        if assignments.is_done(id_, request.name):
            return _next_item(request)  # the form was submitted twice
        raise
    question = make_question(status.task, request.store.interaction(id_), assignment)
    try:
        feedback = parse_form(question, request.form)
        submit(request.services, request.project, feedback)
    except RecordError as error:
        return _question_page(request, question, error=str(error))
    assignments.complete(id_, request.name, "done")
    return _next_item(request)


@section.post("/{task}/skip")
def skip(request: PageRequest) -> Response:
    """Skip an item, which another person may judge."""
    assignments = Assignments(request.store, _open_task(request).task)
    id_ = request.form.text("interaction")
    assignments.renew(id_, request.name)
    assignments.complete(id_, request.name, "skipped")
    return _next_item(request)


@section.post("/{task}/undo")
def undo(request: PageRequest) -> Response:
    """Delete the last answer or skip, and show its item again."""
    status = _open_task(request)
    assignments = Assignments(request.store, status.task)
    last = assignments.last(request.name)
    if last is None:
        raise NotFound("There is nothing to undo", "Judge an item first")
    assignments.reopen(last.interaction, request.name)
    for id_ in _answered_ids(request, status, request.store.case(last.interaction)):
        request.store.delete(id_)
    return _next_item(request)


@section.post("/{task}/changes")
def changes(request: PageRequest) -> Response:
    """Show the changes of a rewrite while it is being written."""
    status = _open_task(request)
    id_ = request.form.text("interaction")
    assignment = Assignments(request.store, status.task).renew(id_, request.name)
    question = make_question(status.task, request.store.interaction(id_), assignment)
    return request.page(
        "inbox/_changes.html",
        before=normalise_lines(question.shown[0].text),
        after=request.form.text("text"),
    )


def _task_status(request: PageRequest) -> TaskStatus:
    return read_task(request.store, request.part("task"))


def _open_task(request: PageRequest) -> TaskStatus:
    status = _task_status(request)
    if not status.open:
        raise Conflict(f"The task {status.task.name!r} is closed", "Choose another task")
    return status


def _next_question(request: PageRequest, status: TaskStatus) -> Question | None:
    """Return the next question; complete items that were answered just before a crash."""
    assignments = Assignments(request.store, status.task)
    while (assignment := assignments.next(request.name)) is not None:
        case = request.store.case(assignment.interaction)
        if not _answered_ids(request, status, case):
            return make_question(status.task, case.interaction, assignment)
        assignments.complete(assignment.interaction, request.name, "done")
    return None


def _answered_ids(request: PageRequest, status: TaskStatus, case: Case) -> list[str]:
    """Return the ids of the user's feedback on an item for this task."""
    return [
        item.id
        for item in case.feedback
        if item.annotator.id == request.name and item.metadata.get("task") == status.task.id
    ]


def _question_page(request: PageRequest, question: Question, *, error: str = "") -> Response:
    task = question.task
    assignments = Assignments(request.store, task)
    response = question.shown[0].text
    return request.page(
        f"inbox/{task.kind}.html",
        status=422 if error else 200,
        title=task.name,
        task=task,
        question=question,
        progress=assignments.progress(request.name),
        last=assignments.last(request.name),
        error=error,
        text=normalise_lines(response),
        steps=split_steps(response) if task.kind == "steps" else (),
        tokens=split_tokens(response) if task.kind == "spans" else (),
    )


def _finished_page(request: PageRequest, status: TaskStatus) -> Response:
    assignments = Assignments(request.store, status.task)
    return request.page(
        "inbox/finished.html",
        title=status.task.name,
        task_status=status,
        progress=assignments.progress(request.name),
        last=assignments.last(request.name),
    )


def _next_item(request: PageRequest) -> Response:
    return request.redirect(request.url("/inbox", request.part("task")))
