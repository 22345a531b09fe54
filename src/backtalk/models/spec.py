"""How a policy names its model: plain records, without secrets."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, JsonValue, model_validator

from backtalk.artifacts import Artifacts
from backtalk.errors import BacktalkError, NotFound
from backtalk.feedback.record import OMIT_EMPTY, Name, OptionalField, Record
from backtalk.models.endpoint.endpoint import Endpoint, LimitField, plain_address
from backtalk.models.local.loading import Dtype
from backtalk.models.local.mixture import Mixture
from backtalk.models.local.model import LocalModel
from backtalk.models.protocol import Model
from backtalk.models.registry import named_model
from backtalk.models.replay.replay import Order, Replay


def _address(address: str) -> str:
    try:
        return plain_address(address)
    except BacktalkError as error:
        raise ValueError(str(error)) from None


class EndpointSpec(Record):
    """A model behind an address; see :class:`~backtalk.models.endpoint.endpoint.Endpoint`."""

    kind: Literal["endpoint"] = "endpoint"
    model: Name
    base_url: OptionalField[Annotated[str, AfterValidator(_address)]] = None
    """Without one, what ``OPENAI_BASE_URL`` says where it is loaded, or else OpenAI."""
    api_key_env: OptionalField[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]] = None
    """The name of the variable that holds the key; never the key."""
    revision: OptionalField[Name] = None
    send_seed: OptionalField[bool] = None
    log_probabilities: OptionalField[bool] = None
    limit_field: OptionalField[LimitField] = None
    concurrency: OptionalField[Annotated[int, Field(gt=0)]] = None
    timeout: OptionalField[Annotated[float, Field(gt=0)]] = None
    retries: OptionalField[Annotated[int, Field(ge=0)]] = None

    def load(self, artifacts: Artifacts | None = None) -> Model:  # noqa: ARG002 - as every spec
        """Return the model."""
        return Endpoint(**self.model_dump(exclude={"kind"}, exclude_none=True))


class LocalSpec(Record):
    """A model on this machine; see :class:`~backtalk.models.local.model.LocalModel`."""

    kind: Literal["local"] = "local"
    model: OptionalField[Name] = None
    """A folder, or a name on the Hugging Face hub."""
    artifact: OptionalField[Name] = None
    """The id of an artifact that holds the model's folder, in the place of ``model``."""
    revision: OptionalField[Name] = None
    dtype: OptionalField[Dtype] = None
    chat_template: OptionalField[Name] = None
    template_options: dict[str, JsonValue] = Field(default_factory=dict, exclude_if=OMIT_EMPTY)
    adapters: tuple[Name, ...] = Field(default=(), exclude_if=OMIT_EMPTY)
    """The ids of artifacts that hold adapters, which are added to the weights in this order."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.model is None) == (self.artifact is None):
            raise ValueError("model: a local model needs either a model or an artifact")
        return self

    def load(self, artifacts: Artifacts | None = None) -> Model:
        """Return the model."""
        given = self.model_dump(exclude={"kind", "model", "artifact"}, exclude_none=True)
        given["adapters"] = [str(_kept(artifacts, id_).path(id_)) for id_ in self.adapters]
        if self.artifact is None:
            return LocalModel(str(self.model), **given)
        folder = _kept(artifacts, self.artifact).path(self.artifact)
        return LocalModel(str(folder), name=self.artifact[:12], **given)


class ReplaySpec(Record):
    """A recording; see :class:`~backtalk.models.replay.replay.Replay`."""

    kind: Literal["replay"] = "replay"
    artifact: Name
    """The id of the artifact that holds it."""
    models: tuple[Name, ...] = Field(default=(), exclude_if=OMIT_EMPTY)
    order: Order = "recorded"

    def load(self, artifacts: Artifacts | None = None) -> Model:
        """Return the model."""
        files = _kept(artifacts, self.artifact).read(self.artifact)
        return Replay.from_files(files, models=self.models, order=self.order)


class NamedSpec(Record):
    """A model that was registered by a name; see :mod:`backtalk.models.registry`."""

    kind: Literal["named"] = "named"
    name: Name
    options: dict[str, JsonValue] = Field(default_factory=dict, exclude_if=OMIT_EMPTY)

    def load(self, artifacts: Artifacts | None = None) -> Model:  # noqa: ARG002 - as every spec
        """Return the model."""
        return named_model(self.name, self.options)


class MixtureSpec(Record):
    """A geometric mixture of local models; see :class:`~backtalk.models.local.mixture.Mixture`."""

    kind: Literal["mixture"] = "mixture"
    models: Annotated[
        tuple[Annotated[LocalSpec | NamedSpec, Field(discriminator="kind")], ...],
        Field(min_length=1),
    ]
    weights: tuple[float, ...]
    """The power of each one's probabilities; they sum to 1."""

    @model_validator(mode="after")
    def _weighed(self) -> Self:
        if len(self.weights) != len(self.models) or abs(sum(self.weights) - 1) > 1e-6:
            raise ValueError("weights: a mixture needs one a model, and they sum to 1")
        return self

    def load(self, artifacts: Artifacts | None = None) -> Model:
        """Return the mixture.

        Raises
        ------
        BacktalkError
            If one of the models is not on this machine.
        """
        loaded = [spec.load(artifacts) for spec in self.models]
        local = [model for model in loaded if isinstance(model, LocalModel)]
        if len(local) < len(loaded):
            raise BacktalkError(
                "A model of a mixture does not predict tokens on this machine",
                "Mix local models: nobody else says how probable each next token is",
            )
        return Mixture(local, self.weights)


ModelSpec = Annotated[
    EndpointSpec | LocalSpec | ReplaySpec | NamedSpec | MixtureSpec, Field(discriminator="kind")
]
"""Any model, as a policy holds it."""


def load_model(spec: ModelSpec, artifacts: Artifacts | None = None) -> Model:
    """Return the model that a spec names.

    Parameters
    ----------
    spec : ModelSpec
        Its name.
    artifacts : Artifacts, optional
        Where recordings and weights are kept; needed for specs that refer to them.

    Raises
    ------
    NotFound
        If an artifact is missing.
    UnknownName
        If no model, or no option of it, has that name.
    """
    return spec.load(artifacts)


def _kept(artifacts: Artifacts | None, id_: str) -> Artifacts:
    if artifacts is None:
        raise NotFound(
            f"The model is kept as artifact {id_!r}, and no place of artifacts was given",
            "Load it with the artifacts of the store that it was made in",
        )
    return artifacts
