"""Making tasks, closing them, and opening them again."""

from __future__ import annotations

from pydantic import ValidationError
from starlette.responses import Response

from backtalk.annotation.tasks import Task, add_task, close_task, open_task
from backtalk.errors import BacktalkError, RecordError
from backtalk.feedback.record import explain
from backtalk.policy import list_policies
from backtalk.serve.pages.inbox.questions import TASK_TITLES
from backtalk.serve.pages.inbox.routes import section
from backtalk.serve.pages.page_request import Form, PageRequest


@section.get("/new/task", "manage")
def new(visit: PageRequest) -> Response:
    """Show the form for a task."""
    return _form_page(visit)


@section.post("/new/task", "manage")
def add(visit: PageRequest) -> Response:
    """Make a task."""
    try:
        task = add_task(visit.store, _parse_task(visit.form), actor=visit.name)
    except BacktalkError as error:
        return _form_page(visit, error=str(error))
    _record(visit, "task added", task)
    return visit.redirect(visit.url("/inbox"))


@section.post("/{task}/close", "manage")
def close(visit: PageRequest) -> Response:
    """Ask nobody any more."""
    task = close_task(visit.store, visit.part("task"), actor=visit.name)
    _record(visit, "task closed", task)
    return visit.redirect(visit.url("/inbox"))


@section.post("/{task}/open", "manage")
def open_(visit: PageRequest) -> Response:
    """Ask again."""
    task = open_task(visit.store, visit.part("task"), actor=visit.name)
    _record(visit, "task opened", task)
    return visit.redirect(visit.url("/inbox"))


def _form_page(visit: PageRequest, *, error: str = "") -> Response:
    policies = [(policy.id, policy.label) for policy in list_policies(visit.store)]
    return visit.page(
        "inbox/new.html",
        status=422 if error else 200,
        title="New task",
        words=TASK_TITLES,
        policies=policies,
        given=visit.form,
        wrong=error,
    )


def _parse_task(form: Form) -> Task:
    kind = form.text("kind")
    fields = {
        "name": form.text("name").strip(),
        "kind": kind,
        "people": form.text("people", "1").strip() or "1",
        "filter": {
            "policy": form.text("policy") or None,
            "unjudged": form.text("unjudged") == "yes",
            "max_items": form.text("most").strip() or None,
        },
        "aspects": _split_names(form.text("aspects")) if kind == "rate" else (),
        "labels": _split_names(form.text("labels")) if kind == "spans" else (),
        "guideline": form.text("guideline").strip(),
    }
    try:
        return Task.model_validate(fields)
    except ValidationError as error:
        raise RecordError(f"The task is not complete: {explain(error)}") from None


def _split_names(text: str) -> tuple[str, ...]:
    """Return names that stand on lines or between commas."""
    parts = text.replace("\n", ",").split(",")
    return tuple(part.strip() for part in parts if part.strip())


def _record(visit: PageRequest, action: str, task: Task) -> None:
    what = f"{task.name} ({task.id[:8]})"
    visit.store.audit_log.append(action, what, actor=visit.name, project=visit.project)
