"""Training data of a job: an uploaded file, or the feedback in a store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from pydantic import ValidationError

from backtalk.errors import BacktalkError, NotFound
from backtalk.feedback import content_id
from backtalk.feedback.base import OVERALL
from backtalk.feedback.case import Case, prompt_key
from backtalk.feedback.record import explain
from backtalk.formats.read import ParsedRow, read
from backtalk.learn.training_set import Split, TrainingSet
from backtalk.policy import Policy, list_policies, save_policy
from backtalk.policy.origin import save_prompt_keys
from backtalk.serve.files.file_store import FileStore
from backtalk.serve.fine_tuning.file_rows import (
    has_reasoning,
    is_preference,
    preference_cases,
    read_rows,
    supervised_cases,
)
from backtalk.serve.fine_tuning.job import STORE, JobSpec
from backtalk.store import Store
from backtalk.store.queries import Cursor

_MAX_REASONS = 10
"""Number of invalid lines that an error message names."""


class InvalidFile(BacktalkError):
    """Error of a training or validation file with invalid lines.

    Parameters
    ----------
    param : str
        ``"training_file"`` or ``"validation_file"``.
    reason : str
        Invalid lines, or what is wrong with the file as a whole.
    """

    def __init__(self, param: str, reason: str) -> None:
        kind = param.removesuffix("_file")
        super().__init__(f"The job failed due to an invalid {kind} file. {reason}")
        self.param = param


@dataclass
class FileReport:
    """Examples of a file, and what is wrong with it."""

    examples: int = 0
    """Number of valid lines."""
    invalid: int = 0
    """Number of invalid lines."""
    reasons: list[str] = field(default_factory=list)
    """Reasons of the first invalid lines."""
    with_reasoning: int = 0
    """Number of conversations whose answers have reasoning."""
    pairs_with_reasoning: int = 0
    """Number of preferences whose answers have reasoning, which is not learned."""

    def reject(self, line: int, reason: str) -> None:
        """Add an invalid line."""
        self.invalid += 1
        if len(self.reasons) < _MAX_REASONS:
            self.reasons.append(f"Line {line}: {reason}" if line else reason)

    def check(self, param: str, *, minimum: int) -> None:
        """Raise an error if a line is invalid, or there are too few.

        Parameters
        ----------
        param : str
            Name of the parameter that named the file.
        minimum : int
            Minimum number of examples.

        Raises
        ------
        InvalidFile
            If the file is not valid.
        """
        if self.invalid:
            more = self.invalid - len(self.reasons)
            text = "; ".join(self.reasons) + (f"; and {more:,} more lines" if more else "")
            raise InvalidFile(param, f"Invalid file format. {text}")
        if self.examples < minimum:
            kind = param.removesuffix("_file").capitalize()
            raise InvalidFile(
                param,
                f"{kind} file has {self.examples} example(s), but must have at least {minimum} "
                "examples",
            )


def read_cases(
    path: Path, spec: JobSpec, report: FileReport, *, reasoning: bool = False
) -> Iterator[Case]:
    """Yield the cases of the valid lines of a file, and count the others.

    Parameters
    ----------
    path : Path
        File.
    spec : JobSpec
        Job, whose method decides on the layout. A job of type ``backtalk`` reads OpenAI's layouts
        and those of ``backtalk import``.
    report : FileReport
        Counts, which are updated.
    reasoning : bool, default False
        If true, answers of conversations have their reasoning.
    """
    own = spec.type == "backtalk"
    if own and ("format" in spec.selection or not _has_openai_layout(path)):
        yield from _import_cases(path, spec, report)
        return
    for line, row in read_rows(path):
        if isinstance(row, str):
            report.reject(line, row)
            continue
        is_pair = is_preference(row) if own else spec.type == "dpo"
        try:
            cases = preference_cases(row) if is_pair else supervised_cases(row, reasoning=reasoning)
        except ValidationError as error:
            report.reject(line, explain(error))
        except BacktalkError as error:
            report.reject(line, str(error))
        else:
            report.examples += 1
            if is_pair:
                report.pairs_with_reasoning += has_reasoning(row)
            else:
                report.with_reasoning += has_reasoning(row)
            yield from (_of_line(case, line) for case in cases)


def _of_line(case: Case, line: int) -> Case:
    """Return a case with ids of its line, so that a line that is there twice is learned twice."""
    id_ = content_id("line", str(line), case.interaction.id)
    return Case(
        case.interaction.model_copy(update={"id": id_}),
        tuple(
            item.model_copy(
                update={"id": content_id("line", str(line), item.id), "interaction": id_}
            )
            for item in case.feedback
        ),
    )


def _has_openai_layout(path: Path) -> bool:
    rows = (row for _, row in islice(read_rows(path), 1))
    return any(
        isinstance(row, dict) and ({*row} <= _CHAT_KEYS or is_preference(row)) for row in rows
    )


_CHAT_KEYS = {"messages", "tools", "parallel_tool_calls", "functions"}


def _import_cases(path: Path, spec: JobSpec, report: FileReport) -> Iterator[Case]:
    name = spec.selection.get("format")
    try:
        for row in read(path, format=str(name) if name is not None else None):
            if isinstance(row, ParsedRow):
                report.examples += 1
                yield from row.cases
            else:
                report.reject(row.line, row.reason)
    except BacktalkError as error:
        report.reject(0, str(error).replace(str(path), "The file"))


def check_files(spec: JobSpec, files: FileStore, *, minimum: int) -> FileReport:
    """Check the training file and the validation file of a job, and count the examples.

    Parameters
    ----------
    spec : JobSpec
        Job.
    files : FileStore
        Uploaded files.
    minimum : int
        Minimum number of examples of a training file.

    Returns
    -------
    FileReport
        Report on the training file; an empty one for feedback of a store.

    Raises
    ------
    InvalidFile
        If a file is missing or invalid.
    """
    training = FileReport()
    for param, id_, least in (
        ("training_file", spec.training_file, minimum),
        ("validation_file", spec.validation_file, 1),
    ):
        if id_ is None or id_.startswith(STORE):
            continue
        report = FileReport()
        for _ in read_cases(content_path(files, id_, param), spec, report):
            pass
        report.check(param, minimum=least)
        if param == "training_file":
            training = report
    return training


def content_path(files: FileStore, id: str, param: str) -> Path:  # noqa: A002
    """Return the path of an uploaded file.

    Parameters
    ----------
    files : FileStore
        Uploaded files.
    id : str
        Id of the file.
    param : str
        Name of the parameter that named it, for the error.

    Raises
    ------
    InvalidFile
        If it has been deleted.
    """
    try:
        return files.content(files.find(id))
    except NotFound as error:
        raise InvalidFile(param, str(error)) from None


@dataclass(frozen=True)
class TrainingData:
    """Training data of a job.

    Parameters
    ----------
    spec : JobSpec
        Job.
    store : Store
        Store of the job's project.
    files : FileStore
        Uploaded files.
    folder : Path
        Folder of the run, for the databases of the files.
    reasoning : bool, default False
        If true, answers of conversations have their reasoning.
    """

    spec: JobSpec
    store: Store
    files: FileStore
    folder: Path
    reasoning: bool = False

    def load(self) -> TrainingSet:
        """Return the training set, with the validation set if there is one.

        Raises
        ------
        InvalidFile
            If a file has been deleted, or is not valid.
        """
        training = self._load(self.spec.training_file, "training_file")
        if self.spec.validation_file is not None:
            training.validation = self._load(self.spec.validation_file, "validation_file")
        return training

    def _load(self, source: str, param: str) -> TrainingSet:
        selection = self.spec.selection
        aspect = str(selection.get("aspect", OVERALL))
        kinds = selection.get("kinds")
        names = [str(kind) for kind in kinds] if isinstance(kinds, list) else None
        if source.startswith(STORE):
            split: Split = "all" if selection.get("split") == "all" else "train"
            if param == "validation_file":
                split = "held-out"
            until = None if self.spec.until is None else Cursor(*self.spec.until)
            project = self.store.in_project(source.removeprefix(STORE))
            return TrainingSet(project, split=split, kinds=names, until=until, aspect=aspect)
        target = self._file_store(source)
        report = FileReport()
        path = content_path(self.files, source, param)
        target.add_cases(read_cases(path, self.spec, report, reasoning=self.reasoning))
        report.check(param, minimum=1)
        return TrainingSet(target, split="all", kinds=names, aspect=aspect)

    def _file_store(self, source: str) -> Store:
        """Return a store for the content of a file, with the policies of the project."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{source}.db"
        for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
            (self.folder / name).unlink(missing_ok=True)
        target = Store(path, project=source)
        target.artifacts = self.store.artifacts
        for policy in list_policies(self.store):
            save_policy(target, policy)
        return target


def with_prompts(policy: Policy, training: TrainingSet, spec: JobSpec) -> Policy:
    """Return a policy whose snapshot lists the prompts of the file that it was learned from.

    The gate compares them with the prompts of an evaluation. Feedback in a store needs no list.

    Parameters
    ----------
    policy : Policy
        Learned policy.
    training : TrainingSet
        Training set.
    spec : JobSpec
        Job.
    """
    lineage = policy.lineage
    if spec.training_file.startswith(STORE) or lineage.snapshot is None:
        return policy
    keys = (prompt_key(case.interaction.prompt) for case in training.cases())
    listed = save_prompt_keys(keys, training.store.artifacts)
    snapshot = lineage.snapshot.model_copy(update={"prompts": listed})
    changed = lineage.model_copy(update={"snapshot": snapshot})
    return policy.model_copy(update={"lineage": changed})
