"""Validation of a job's files, after which the job is queued."""

from __future__ import annotations

from backtalk.serve.files.file_store import FileStore
from backtalk.serve.fine_tuning.events import append_event
from backtalk.serve.fine_tuning.hyperparameters import learns_reasoning
from backtalk.serve.fine_tuning.job import STORE, JobError, JobProgress, read_spec
from backtalk.serve.fine_tuning.settings import FineTuningSettings
from backtalk.serve.fine_tuning.training_data import InvalidFile, check_files
from backtalk.store import Store
from backtalk.store.jobs import Job


def check_job(
    store: Store, job: Job, files: FileStore, settings: FineTuningSettings
) -> JobProgress:
    """Check the files of a job, and return the progress of a queued job.

    Parameters
    ----------
    store : Store
        Store of the job's project.
    job : Job
        Job.
    files : FileStore
        Uploaded files.
    settings : FineTuningSettings
        Settings with the minimum number of examples.

    Raises
    ------
    InvalidFile
        If a file is missing or invalid.
    """
    spec = read_spec(job)
    minimum = 1 if spec.type == "backtalk" else settings.min_examples
    report = check_files(spec, files, minimum=minimum)
    reasoning = report.pairs_with_reasoning
    if report.with_reasoning and not learns_reasoning(spec, settings.options):
        reasoning += report.with_reasoning
    if reasoning:
        append_event(
            store,
            job.id,
            f"The reasoning of {reasoning:,} examples is not learned; the option reasoning of a "
            "method of type backtalk learns that of conversations",
            level="warn",
        )
    append_event(store, job.id, "Files validated, moving job to queued state")
    return JobProgress(status="queued")


def validate_new_job(
    store: Store, job: Job, files: FileStore, settings: FineTuningSettings
) -> None:
    """Check the files of a job that was created just now, and queue or fail it.

    If this process dies before, the worker checks the files.

    Parameters
    ----------
    store : Store
        Store of the job's project.
    job : Job
        Job.
    files : FileStore
        Uploaded files.
    settings : FineTuningSettings
        Settings with the minimum number of examples.
    """
    spec = read_spec(job)
    names = f"training file: {spec.training_file}"
    if spec.validation_file is not None:
        names += f" and validation file: {spec.validation_file}"
    if not spec.training_file.startswith(STORE):
        append_event(store, job.id, f"Validating {names}")
    try:
        progress = check_job(store, job, files, settings)
    except InvalidFile as error:
        reason = JobError(code=f"invalid_{error.param}", message=str(error), param=error.param)
        append_event(store, job.id, reason.message, level="error")
        failed = JobProgress(status="failed", error=reason)
        store.jobs.reject(job.id, reason.message, result=failed.to_json())
    else:
        store.jobs.prepare(job.id, progress.to_json())
