"""Specs of language models as judges: files, and short texts on the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ValidationError, model_validator

from backtalk.artifacts import Artifacts
from backtalk.errors import BacktalkError, NotFound
from backtalk.evaluate.judges.llm.judge import LlmJudge, LlmReward
from backtalk.evaluate.judges.llm.options import JudgeOptions
from backtalk.evaluate.judges.llm.rubric import read_rubric
from backtalk.feedback.record import explain
from backtalk.models import EndpointSpec, ModelSpec, ResponseCache, load_model

_FILES = (".yaml", ".yml", ".json")
_MAX_LABEL_SCORE = 9


def _model(value: Any) -> Any:
    """Accept ``NAME`` and ``NAME@ADDRESS`` of an endpoint, and a mapping without its kind."""
    if isinstance(value, str):
        name, _, address = value.partition("@http")
        fields = {"kind": "endpoint", "model": name}
        return fields | ({"base_url": f"http{address}"} if address else {})
    if isinstance(value, Mapping) and "kind" not in value:
        return {"kind": "endpoint", **value}
    return value


class LlmJudgeSpec(JudgeOptions):
    """Language model as a judge: its model, its mode and its options.

    >>> LlmJudgeSpec(model="small@http://localhost:8000/v1").model.base_url
    'http://localhost:8000/v1'
    """

    model: Annotated[ModelSpec, BeforeValidator(_model)]
    """Model that judges, as in a policy; or ``NAME`` or ``NAME@ADDRESS`` of one at an endpoint."""
    mode: Literal["pairwise", "pointwise"] = "pairwise"
    """Comparison of two answers, or a score of each."""

    @model_validator(mode="after")
    def _endpoint_labels(self) -> Self:
        high = self.rubric.scale[1]
        endpoint = isinstance(self.model, EndpointSpec)
        if endpoint and self.probabilities and self.mode == "pointwise" and high > _MAX_LABEL_SCORE:
            raise ValueError(
                "probabilities: an endpoint reports those of single tokens, and scores up to "
                f"{high} may have several; use a scale up to {_MAX_LABEL_SCORE}"
            )
        return self

    def load(
        self, artifacts: Artifacts | None = None, *, cache: ResponseCache | None = None
    ) -> LlmJudge | LlmReward:
        """Return the judge.

        Parameters
        ----------
        artifacts : Artifacts, optional
            Artifacts with the weights of a local model.
        cache : ResponseCache, optional
            Cache of its replies.

        Raises
        ------
        MissingAddress
            If the model is an endpoint without an address.
        """
        fields = {name: getattr(self, name) for name in JudgeOptions.model_fields}
        judge = LlmJudge if self.mode == "pairwise" else LlmReward
        return judge(load_model(self.model, artifacts), JudgeOptions(**fields), cache=cache)


def read_judge_spec(path: Path | str) -> LlmJudgeSpec:
    """Read the spec of a judge from a YAML or JSON file.

    The field ``rubric`` may be the path of a rubric, relative to the file.

    Raises
    ------
    NotFound
        If there is no such file, or no such rubric.
    BacktalkError
        If a field is unknown or wrong.
    """
    import yaml  # noqa: PLC0415 - only needed for files

    file = Path(path)
    if not file.is_file():
        raise NotFound(
            f"There is no judge file {file}",
            "Write one with `model:` and, if you like, `mode:`, `rubric:` and `samples:`",
        )
    try:
        fields = yaml.safe_load(file.read_text(encoding="utf-8"))
        if isinstance(fields, dict):
            if isinstance(fields.get("rubric"), str):
                fields["rubric"] = read_rubric(file.parent / fields["rubric"]).model_dump()
            fields.setdefault("name", f"llm:{file.stem}")
        return LlmJudgeSpec.model_validate(fields)
    except (yaml.YAMLError, ValidationError) as error:
        why = explain(error) if isinstance(error, ValidationError) else " ".join(str(error).split())
        raise BacktalkError(
            f"The judge file {file} is not valid: {why}",
            f"Its fields are {', '.join(LlmJudgeSpec.model_fields)}",
        ) from None


def parse_judge(text: str) -> LlmJudgeSpec:
    """Return the spec of a judge that is named by a text.

    Parameters
    ----------
    text : str
        Path of a judge file, or ``MODEL`` or ``MODEL@ADDRESS`` of a model at an endpoint.

    Raises
    ------
    BacktalkError
        If the text names neither.
    """
    if text.lower().endswith(_FILES):
        return read_judge_spec(text)
    if not re.sub(r"@https?://.*", "", text).strip():
        raise BacktalkError(
            "The judge llm: names no model", "Name one, as in `--judge llm:MODEL@ADDRESS`"
        )
    try:
        return LlmJudgeSpec(model=text)  # type: ignore[arg-type]
    except ValidationError as error:
        raise BacktalkError(
            f"The judge llm:{text} is not valid: {explain(error)}",
            "Write llm:MODEL, llm:MODEL@http://HOST:PORT/v1, or llm:FILE.yaml",
        ) from None


def load_llm_judge(
    text: str, artifacts: Artifacts | None = None, *, cache: Path | None = None
) -> LlmJudge | LlmReward:
    """Return the judge that a text names; see :func:`parse_judge`.

    Parameters
    ----------
    text : str
        Judge file, or model at an endpoint.
    artifacts : Artifacts, optional
        Artifacts with the weights of a local model.
    cache : Path, optional
        File of the cache of its replies, shared by all runs. Default: none.
    """
    spec = parse_judge(text)
    return spec.load(artifacts, cache=None if cache is None else ResponseCache(cache))
