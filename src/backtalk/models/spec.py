"""Model specs: plain records, without secrets, by which a policy refers to its model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, Field, JsonValue, model_validator

from backtalk.artifacts import Artifacts
from backtalk.errors import BacktalkError, NotFound
from backtalk.feedback.record import OMIT_EMPTY, Name, OptionalField, Record
from backtalk.models.options import Dtype, LimitField, ReplayOrder, normalise_url

if TYPE_CHECKING:
    from backtalk.models.protocol import Model


def _address(address: str) -> str:
    try:
        return normalise_url(address)
    except BacktalkError as error:
        raise ValueError(str(error)) from None


class EndpointSpec(Record):
    """Endpoint model; see :class:`~backtalk.models.endpoint.endpoint.Endpoint`."""

    kind: Literal["endpoint"] = "endpoint"
    model: Name
    """Name of the model at the endpoint."""
    base_url: OptionalField[Annotated[str, AfterValidator(_address)]] = None
    """Address of the endpoint, which often ends in ``/v1``. Default: the upstream of the gateway
    that serves the policy, or ``OPENAI_BASE_URL``. Without any of them, nothing is sent."""
    api_key_env: OptionalField[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]] = None
    """Name of the environment variable that holds the key; never the key itself. Default:
    ``OPENAI_API_KEY``."""
    revision: OptionalField[Name] = None
    """Version of the model, if its name does not contain it; answers of others are not reused."""
    send_seed: OptionalField[bool] = None
    """If true, send a seed, so that equal requests have equal answers; if false, send none.
    Default: until the server rejects it."""
    log_probabilities: OptionalField[bool] = None
    """If true, request log-probabilities. Default: false."""
    limit_field: OptionalField[LimitField] = None
    """Name under which ``max_tokens`` is sent. Default: the one that the server takes."""
    concurrency: OptionalField[Annotated[int, Field(gt=0)]] = None
    """Maximum number of calls in flight. Default: 8."""
    timeout: OptionalField[Annotated[float, Field(gt=0)]] = None
    """Timeout of an attempt, in seconds. Default: 60."""
    retries: OptionalField[Annotated[int, Field(ge=0)]] = None
    """Number of retries after a transient failure. Default: 4."""

    def load(self, artifacts: Artifacts | None = None) -> Model:  # noqa: ARG002 - as every spec
        """Return the model."""
        from backtalk.models.endpoint.endpoint import Endpoint  # noqa: PLC0415 - slow to import

        return Endpoint(**self.model_dump(exclude={"kind"}, exclude_none=True))


class LocalSpec(Record):
    """Local model; see :class:`~backtalk.models.local.model.LocalModel`."""

    kind: Literal["local"] = "local"
    model: OptionalField[Name] = None
    """Folder, name of a fetched model such as ``smollm2``, or name on the Hugging Face hub."""
    artifact: OptionalField[Name] = None
    """Id of an artifact that holds the model's folder, instead of ``model``."""
    revision: OptionalField[Name] = None
    """Revision of a model of the hub."""
    dtype: OptionalField[Dtype] = None
    """Number format of the weights. Default: float32 on a CPU, otherwise that of the files."""
    chat_template: OptionalField[Name] = None
    """Jinja template that replaces the model's own; ``plain`` for a model that only continues
    texts."""
    template_options: dict[str, JsonValue] = Field(default_factory=dict, exclude_if=OMIT_EMPTY)
    """Variables of the template, such as ``{enable_thinking: false}``."""
    adapters: tuple[Name, ...] = Field(default=(), exclude_if=OMIT_EMPTY)
    """Ids of artifacts that hold adapters, which are merged into the weights in this order."""

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if (self.model is None) == (self.artifact is None):
            raise ValueError("model: a local model needs either a model or an artifact")
        return self

    def load(self, artifacts: Artifacts | None = None) -> Model:
        """Return the model."""
        from backtalk.models.local.model import LocalModel  # noqa: PLC0415 - slow to import

        options = self.model_dump(exclude={"kind", "model", "artifact"}, exclude_none=True)
        options["adapters"] = [str(_require(artifacts, id_).path(id_)) for id_ in self.adapters]
        if self.artifact is None:
            return LocalModel(str(self.model), **options)
        folder = _require(artifacts, self.artifact).path(self.artifact)
        return LocalModel(str(folder), name=self.artifact[:12], **options)


class ReplaySpec(Record):
    """Recording; see :class:`~backtalk.models.replay.replay.Replay`."""

    kind: Literal["replay"] = "replay"
    artifact: Name
    """Id of the artifact that holds the recording."""
    models: tuple[Name, ...] = Field(default=(), exclude_if=OMIT_EMPTY)
    """Models whose outputs are replayed; all by default."""
    order: ReplayOrder = "recorded"
    """Order of the recorded answers to a prompt. Default: recorded."""

    def load(self, artifacts: Artifacts | None = None) -> Model:
        """Return the model."""
        from backtalk.models.replay.replay import Replay  # noqa: PLC0415 - slow to import

        files = _require(artifacts, self.artifact).read(self.artifact)
        return Replay.from_files(files, models=self.models, order=self.order)


class NamedSpec(Record):
    """Model that is registered under a name; see :mod:`backtalk.models.registry`."""

    kind: Literal["named"] = "named"
    name: Name
    """Name of the registered model."""
    options: dict[str, JsonValue] = Field(default_factory=dict, exclude_if=OMIT_EMPTY)
    """Options of the model."""

    def load(self, artifacts: Artifacts | None = None) -> Model:  # noqa: ARG002 - as every spec
        """Return the model."""
        from backtalk.models.registry import get_model  # noqa: PLC0415 - slow to import

        return get_model(self.name, self.options)


class MixtureSpec(Record):
    """Geometric mixture of local models; see :class:`~backtalk.models.local.mixture.Mixture`."""

    kind: Literal["mixture"] = "mixture"
    models: Annotated[
        tuple[Annotated[LocalSpec | NamedSpec, Field(discriminator="kind")], ...],
        Field(min_length=1),
    ]
    """Local models with the same tokenizer."""
    weights: tuple[float, ...]
    """Exponent of each model's probabilities; they sum to 1."""

    @model_validator(mode="after")
    def _check_weights(self) -> Self:
        if len(self.weights) != len(self.models) or abs(sum(self.weights) - 1) > 1e-6:
            raise ValueError("weights: a mixture needs one weight per model, and they sum to 1")
        return self

    def load(self, artifacts: Artifacts | None = None) -> Model:
        """Return the mixture.

        Raises
        ------
        BacktalkError
            If one of the models is not a local model.
        """
        from backtalk.models.local.mixture import Mixture  # noqa: PLC0415 - slow to import
        from backtalk.models.local.model import LocalModel  # noqa: PLC0415

        loaded = [spec.load(artifacts) for spec in self.models]
        local = [model for model in loaded if isinstance(model, LocalModel)]
        if len(local) < len(loaded):
            raise BacktalkError(
                "A model of the mixture is not a local model",
                "Mix local models: others do not report the probability of each next token",
            )
        return Mixture(local, self.weights)


ModelSpec = Annotated[
    EndpointSpec | LocalSpec | ReplaySpec | NamedSpec | MixtureSpec, Field(discriminator="kind")
]
"""Spec of any kind of model, as a policy holds it."""


def load_model(spec: ModelSpec, artifacts: Artifacts | None = None) -> Model:
    """Return the model that a spec refers to.

    Parameters
    ----------
    spec : ModelSpec
        Spec of the model.
    artifacts : Artifacts, optional
        Artifact store with recordings and weights; required for specs that refer to artifacts.

    Raises
    ------
    NotFound
        If an artifact is missing.
    UnknownName
        If no model, or no option of the model, has that name.
    """
    return spec.load(artifacts)


def _require(artifacts: Artifacts | None, id_: str) -> Artifacts:
    if artifacts is None:
        raise NotFound(
            f"The model is stored as artifact {id_!r}, and no artifact store was given",
            "Load it with the artifacts of the store that it was made in",
        )
    return artifacts
