"""Creation, listing and control of the jobs of all projects that a caller may use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from backtalk.errors import BacktalkError, NotFound
from backtalk.feedback.record import now
from backtalk.policy import save_policy
from backtalk.serve.auth import Caller
from backtalk.serve.errors import APIError
from backtalk.serve.files.file_store import FileStore
from backtalk.serve.fine_tuning.base_model import check_trainable, find_base
from backtalk.serve.fine_tuning.budget import smaller
from backtalk.serve.fine_tuning.create_request import check_method, read_request
from backtalk.serve.fine_tuning.events import append_event
from backtalk.serve.fine_tuning.job import (
    KIND,
    STORE,
    JobSpec,
    job_status,
    read_progress,
    read_spec,
)
from backtalk.serve.fine_tuning.names import new_job_id
from backtalk.serve.fine_tuning.settings import FineTuningSettings
from backtalk.serve.store_connection import StoreConnection
from backtalk.store import Store
from backtalk.store.jobs import Job, JobQueue, JobState
from backtalk.store.queries import Cursor

_UNFINISHED: tuple[JobState, ...] = ("waiting", "paused")
"""States in the queue of jobs that have not ended."""
_VALIDATION_SECONDS = 60.0
"""Time for which a new job is left to the process that validates it."""


@dataclass(frozen=True)
class ProjectJob:
    """Job with the store of its project."""

    store: Store
    job: Job


class FineTuningJobs:
    """Jobs of all projects of a store.

    Parameters
    ----------
    connection : StoreConnection
        Store of the jobs.
    settings : FineTuningSettings
        Settings.
    """

    def __init__(self, connection: StoreConnection, settings: FineTuningSettings) -> None:
        self._connection = connection
        self._settings = settings

    def files(self) -> FileStore:
        """Return the uploaded files."""
        return FileStore.beside(self._connection.artifacts())

    def create(self, body: dict[str, Any], caller: Caller, project: str) -> ProjectJob:
        """Create a job, whose files are not validated yet.

        Parameters
        ----------
        body : dict
            Parsed body of the request.
        caller : Caller
            Caller.
        project : str
            Project of the request.

        Raises
        ------
        APIError
            If a field is not valid, or a file, a model or a project does not exist.
        """
        fields = read_request(body)
        project, base = find_base(
            self._connection, self._settings, caller, model=fields["model"], project=project
        )
        spec = JobSpec(
            **{
                **fields,
                "base": base.id,
                "budget": smaller(fields["budget"], self._settings.budget),
                "until": self._check_sources(fields, caller),
            }
        )
        check_method(spec)
        check_trainable(base, spec.method, spec.model)
        store = self._connection.store(project)
        save_policy(store, base)
        id_ = new_job_id()
        start = now() + timedelta(seconds=_VALIDATION_SECONDS)
        store.jobs.put(KIND, id_, spec.to_json(), not_before=start)
        append_event(store, id_, f"Created fine-tuning job: {id_}")
        return ProjectJob(store, store.jobs.get(id_))

    def validate(self, created: ProjectJob) -> None:
        """Validate the files of a new job, and queue or fail it."""
        from backtalk.serve.fine_tuning.validation import (  # noqa: PLC0415 - imports all formats
            validate_new_job,
        )

        validate_new_job(created.store, created.job, self.files(), self._settings)

    def find(self, id: str, caller: Caller) -> ProjectJob:  # noqa: A002
        """Return a job by its id.

        Raises
        ------
        APIError
            If there is no such job in a project that the caller may use.
        """
        for store in self._stores(caller.project):
            try:
                job = store.jobs.get(id)
            except NotFound:
                continue
            if job.id == id and job.kind == KIND:
                return ProjectJob(store, job)
        raise APIError(
            404,
            f"Could not find fine-tune: {id}. `GET /v1/fine_tuning/jobs` lists the jobs",
            code="fine_tune_not_found",
            param="fine_tuning_job_id",
        )

    def list(self, caller: Caller, project: str | None) -> list[ProjectJob]:
        """Return the jobs, the latest first.

        Parameters
        ----------
        caller : Caller
            Caller.
        project : str or None
            Project of the jobs; ``None`` for all that the caller may use.
        """
        jobs = [
            ProjectJob(store, job)
            for store in self._stores(project or caller.project)
            for job in store.jobs.list(kind=KIND)
        ]
        return sorted(jobs, key=lambda item: item.job.created, reverse=True)

    def unfinished_job_with(self, file_id: str) -> Job | None:
        """Return a job that has not ended and reads a file, ``None`` if no project has one."""
        for store in self._stores(None):
            for state in _UNFINISHED:
                for job in store.jobs.list(kind=KIND, state=state):
                    spec = read_spec(job)
                    if file_id in (spec.training_file, spec.validation_file):
                        return job
        return None

    def pause(self, id: str, caller: Caller) -> ProjectJob:  # noqa: A002
        """Pause a job that waits or runs. Its training continues where it stopped."""
        return self._move(id, caller, JobQueue.pause, "Fine-tuning job paused")

    def resume(self, id: str, caller: Caller) -> ProjectJob:  # noqa: A002
        """Return a paused job to the queue."""
        return self._move(id, caller, _resume, "Fine-tuning job resumed, waits in the queue")

    def cancel(self, id: str, caller: Caller) -> ProjectJob:  # noqa: A002
        """Cancel a job that has not ended."""
        return self._move(id, caller, JobQueue.cancel, "Fine-tuning job cancelled")

    def _move(
        self,
        id_: str,
        caller: Caller,
        change: Callable[[JobQueue, str], Job],
        message: str,
    ) -> ProjectJob:
        item = self.find(id_, caller)
        try:
            job = change(item.store.jobs, id_)
        except BacktalkError:
            status = job_status(item.store.jobs.get(id_))
            raise APIError(
                400,
                f"The job {id_} cannot be {message.split()[2].rstrip(',')}: it is {status}",
                code="invalid_job_state",
                param="fine_tuning_job_id",
            ) from None
        append_event(item.store, id_, message)
        return ProjectJob(item.store, job)

    def _check_sources(self, fields: dict[str, Any], caller: Caller) -> tuple[int, int] | None:
        """Check that the data of a job exists; return the end of the stores, or ``None``.

        Sequence numbers are shared by all projects, so that one end holds for both sources.
        """
        ends = [
            end
            for param in ("validation_file", "training_file")
            if fields[param] is not None
            and (end := self._check_source(fields[param], param, caller)) is not None
        ]
        if not ends:
            return None
        return (max(end.interactions for end in ends), max(end.feedback for end in ends))

    def _check_source(self, source: str, param: str, caller: Caller) -> Cursor | None:
        if not source.startswith(STORE):
            try:
                self.files().find(source, caller.project)
            except NotFound as error:
                raise APIError(
                    400, f"Invalid {param}: {error}", code="invalid_file", param=param
                ) from None
            return None
        project = caller.in_project(source.removeprefix(STORE), "")
        if project not in self._connection.store().projects():
            raise APIError(400, f"Invalid {param}: there is no project {project!r}", param=param)
        return self._connection.store(project).cursor()

    def _stores(self, project: str | None) -> Iterator[Store]:
        names = self._connection.store().projects()
        for name in names if project is None else [name for name in names if name == project]:
            yield self._connection.store(name)


def _resume(jobs: JobQueue, id_: str) -> Job:
    """Return a paused job to the queue, where nobody runs it until it is claimed."""
    job = jobs.resume(id_)
    if job.result is not None:
        jobs.prepare(job.id, read_progress(job).stopped().to_json())
    return jobs.get(job.id)
