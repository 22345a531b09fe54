"""Records of a fine-tuning job: what was requested, and how far it is."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from backtalk.feedback.record import OMIT_EMPTY, Name, OptionalField, Record
from backtalk.models import Budget
from backtalk.serve.fine_tuning.names import fine_tuned_name
from backtalk.store.jobs import Job

KIND = "fine-tune"
"""Kind of the jobs in the queue."""

STORE = "store:"
"""Prefix of a training file that names the feedback of a project."""

Status = Literal["validating_files", "queued", "running", "succeeded", "failed"]
MethodType = Literal["supervised", "dpo", "backtalk"]
Auto = Literal["auto"]

_ENDED = {"done": "succeeded", "failed": "failed", "paused": "paused", "cancelled": "cancelled"}
"""Status of a job that does not wait, by its state in the queue."""


class Hyperparameters(Record):
    """Hyperparameters of OpenAI's API. ``"auto"`` is replaced when the data is known."""

    n_epochs: Annotated[int, Field(ge=1, le=50)] | Auto = "auto"
    batch_size: Annotated[int, Field(ge=1, le=256)] | Auto = "auto"
    learning_rate_multiplier: Annotated[float, Field(gt=0, le=1_000)] | Auto = "auto"
    beta: OptionalField[Annotated[float, Field(gt=0, le=100)] | Auto] = None
    """Weight of the divergence from the base model; of method ``dpo`` only."""


class JobSpec(Record):
    """Specification of a job: its body in the queue."""

    model: Name
    """Base model, as it was requested."""
    base: Name
    """Id of the policy to fine-tune."""
    training_file: Name
    """Id of a file, or ``store:PROJECT``."""
    validation_file: OptionalField[Name] = None
    type: MethodType = "supervised"
    method: Name = "sft"
    """Name of the learning method."""
    hyperparameters: Hyperparameters = Hyperparameters()
    options: dict[str, JsonValue] = Field(default_factory=dict, exclude_if=OMIT_EMPTY)
    """Options of the learning method beyond the hyperparameters."""
    selection: dict[str, JsonValue] = Field(default_factory=dict, exclude_if=OMIT_EMPTY)
    """Selection of the feedback: ``split`` of a store, ``kinds`` and ``aspect``, and the ``format``
    of a file."""
    until: OptionalField[tuple[int, int]] = None
    """Last interaction and last feedback of the database that the job may use."""
    seed: int
    suffix: OptionalField[Annotated[str, Field(max_length=64)]] = None
    metadata: OptionalField[dict[str, str]] = None
    budget: Budget = Budget()
    """Limits: ``tokens`` and ``seconds`` of training; also of the calls of models, by a method
    that makes some."""
    model_id: Name
    """Unique part of the name of the fine-tuned model."""

    def fine_tuned_model(self, project: str) -> str:
        """Return the name of the fine-tuned model."""
        return fine_tuned_name(self.model, project, self.suffix, self.model_id)


class JobError(Record):
    """Reason why a job failed."""

    code: Name
    message: Name
    param: OptionalField[Name] = None

    def to_openai(self) -> dict[str, Any]:
        """Return the error object of OpenAI's API."""
        return {"code": self.code, "message": self.message, "param": self.param}


class Checkpoint(Record):
    """Model as it was after a step."""

    id: Name
    step: int
    model: Name
    """Name of the model."""
    created_at: float
    metrics: dict[str, float]

    def to_openai(self, job_id: str) -> dict[str, Any]:
        """Return the checkpoint object of OpenAI's API."""
        return {
            "id": self.id,
            "object": "fine_tuning.job.checkpoint",
            "created_at": int(self.created_at),
            "fine_tuned_model_checkpoint": self.model,
            "fine_tuning_job_id": job_id,
            "metrics": {**self.metrics, "step": self.step},
            "step_number": self.step,
        }


class JobProgress(Record):
    """Progress of a job: its result in the queue."""

    status: Status = "validating_files"
    error: OptionalField[JobError] = None
    hyperparameters: OptionalField[Hyperparameters] = None
    """Hyperparameters without ``"auto"``, once they are known."""
    step: int = 0
    """Number of finished steps."""
    steps: OptionalField[int] = None
    """Number of steps in all."""
    trained_tokens: int = 0
    seconds: float = 0.0
    """Time that the training took, over all attempts."""
    estimated_finish: OptionalField[float] = None
    """Unix time in seconds."""
    policy: OptionalField[Name] = None
    """Id of the fine-tuned policy."""
    fine_tuned_model: OptionalField[Name] = None
    """Name of the fine-tuned policy."""
    result_files: tuple[Name, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()

    def changed(self, **changes: Any) -> JobProgress:
        """Return the progress with changes."""
        return self.model_copy(update=changes)

    def stopped(self) -> JobProgress:
        """Return the progress of a job whose attempt was stopped, and that waits for the next."""
        if self.status != "running":
            return self
        return self.changed(status="queued", estimated_finish=None)


def read_spec(job: Job) -> JobSpec:
    """Return the specification of a job."""
    return JobSpec.model_validate_json(job.body)


def read_progress(job: Job) -> JobProgress:
    """Return the progress of a job."""
    return JobProgress() if job.result is None else JobProgress.model_validate_json(job.result)


def job_status(job: Job) -> str:
    """Return the status of a job in OpenAI's words, or ``"paused"``."""
    if job.state in _ENDED:
        return _ENDED[job.state]
    status = read_progress(job).status
    return "queued" if status == "failed" else status  # it is tried again


def to_openai(job: Job, project: str) -> dict[str, Any]:
    """Return the job object of OpenAI's API.

    Parameters
    ----------
    job : Job
        Job.
    project : str
        Name of its project.
    """
    spec, progress = read_spec(job), read_progress(job)
    hyperparameters = _to_openai(progress.hyperparameters or spec.hyperparameters)
    is_done = job.state == "done"
    is_running = job.state == "waiting" and progress.status == "running"
    error = progress.error
    if job.state == "failed" and error is None:
        error = JobError(code="server_error", message=job.error or "The job failed")
    return {
        "id": job.id,
        "object": "fine_tuning.job",
        "created_at": int(job.created.timestamp()),
        "error": None if error is None or job.state != "failed" else error.to_openai(),
        "estimated_finish": int(progress.estimated_finish)
        if is_running and progress.estimated_finish is not None
        else None,
        "fine_tuned_model": progress.fine_tuned_model if is_done else None,
        "finished_at": None if job.ended is None else int(job.ended.timestamp()),
        "hyperparameters": hyperparameters,
        "integrations": [],
        "metadata": spec.metadata,
        "method": _method(spec, hyperparameters),
        "model": spec.model,
        "organization_id": project,
        "result_files": list(progress.result_files),
        "seed": spec.seed,
        "status": job_status(job),
        "trained_tokens": progress.trained_tokens if is_done else None,
        "training_file": spec.training_file,
        "user_provided_suffix": spec.suffix,
        "validation_file": spec.validation_file,
    }


def _to_openai(hyperparameters: Hyperparameters) -> dict[str, Any]:
    return hyperparameters.model_dump(mode="json", exclude_none=True)


def _method(spec: JobSpec, hyperparameters: dict[str, Any]) -> dict[str, Any]:
    if spec.type == "backtalk":
        options = {"options": spec.options} if spec.options else {}
        own = {"name": spec.method, "hyperparameters": hyperparameters, **options}
        return {"type": spec.type, **own, **spec.selection}
    return {"type": spec.type, spec.type: {"hyperparameters": hyperparameters}}
