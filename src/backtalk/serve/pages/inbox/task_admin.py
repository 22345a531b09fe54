"""Routes for administrators: create, close and open tasks."""

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
def new(request: PageRequest) -> Response:
    """Show the form for a new task."""
    return _form_page(request)


@section.post("/new/task", "manage")
def add(request: PageRequest) -> Response:
    """Create a task."""
    try:
        task = add_task(request.store, _parse_task(request.form), actor=request.name)
    except BacktalkError as error:
        return _form_page(request, error=str(error))
    _audit(request, "task added", task)
    return request.redirect(request.url("/inbox"))


@section.post("/{task}/close", "manage")
def close(request: PageRequest) -> Response:
    """Close a task."""
    task = close_task(request.store, request.part("task"), actor=request.name)
    _audit(request, "task closed", task)
    return request.redirect(request.url("/inbox"))


@section.post("/{task}/open", "manage")
def open_(request: PageRequest) -> Response:
    """Open a task again."""
    task = open_task(request.store, request.part("task"), actor=request.name)
    _audit(request, "task opened", task)
    return request.redirect(request.url("/inbox"))


def _form_page(request: PageRequest, *, error: str = "") -> Response:
    policies = [(policy.id, policy.label) for policy in list_policies(request.store)]
    return request.page(
        "inbox/new.html",
        status=422 if error else 200,
        title="New task",
        titles=TASK_TITLES,
        policies=policies,
        form=request.form,
        error=error,
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
            "max_items": form.text("max_items").strip() or None,
        },
        "aspects": _split_names(form.text("aspects")) if kind == "rate" else (),
        "labels": _split_names(form.text("labels")) if kind == "spans" else (),
        "guideline": form.text("guideline").strip(),
    }
    try:
        return Task.model_validate(fields)
    except ValidationError as error:
        raise RecordError(f"The task is not valid: {explain(error)}") from None


def _split_names(text: str) -> tuple[str, ...]:
    """Return names separated by commas or line breaks."""
    parts = text.replace("\n", ",").split(",")
    return tuple(part.strip() for part in parts if part.strip())


def _audit(request: PageRequest, action: str, task: Task) -> None:
    detail = f"{task.name} ({task.id})"
    request.store.audit_log.append(action, detail, actor=request.name, project=request.project)
