"""Models: local models, endpoints, recordings, and wrappers around any of them."""

from backtalk.models.endpoint.endpoint import Endpoint
from backtalk.models.endpoint.offline import offline_mode
from backtalk.models.errors import (
    AuthenticationError,
    BadRequest,
    BudgetExceeded,
    ConnectionFailed,
    ContextTooLong,
    InvalidResponse,
    MissingPrice,
    ModelError,
    NotRecorded,
    OfflineError,
    RateLimited,
    RequestTimeout,
    TemplateError,
    UnknownModel,
)
from backtalk.models.fakes import FunctionModel, ScriptedModel
from backtalk.models.local.mixture import Mixture
from backtalk.models.local.model import LocalModel
from backtalk.models.protocol import (
    Completion,
    Embedder,
    FinishReason,
    Model,
    PromptResponse,
    Request,
    Sampling,
    Scorer,
    Streamer,
    Usage,
)
from backtalk.models.registry import get_model, register_model
from backtalk.models.replay.recordings import Recordings
from backtalk.models.replay.replay import Replay
from backtalk.models.spec import (
    EndpointSpec,
    LocalSpec,
    MixtureSpec,
    ModelSpec,
    NamedSpec,
    ReplaySpec,
    load_model,
)
from backtalk.models.wrappers.budget import Budget, Cost, Price, Prices, load_prices
from backtalk.models.wrappers.budgeted_model import BudgetedModel
from backtalk.models.wrappers.cache import CachedModel, ResponseCache
from backtalk.models.wrappers.ledger import Ledger, ModelRole
from backtalk.models.wrappers.recorder import Recorder
from backtalk.models.wrappers.wrap import wrap_model

__all__ = [
    "AuthenticationError",
    "BadRequest",
    "Budget",
    "BudgetExceeded",
    "BudgetedModel",
    "CachedModel",
    "Completion",
    "ConnectionFailed",
    "ContextTooLong",
    "Cost",
    "Embedder",
    "Endpoint",
    "EndpointSpec",
    "FinishReason",
    "FunctionModel",
    "InvalidResponse",
    "Ledger",
    "LocalModel",
    "LocalSpec",
    "MissingPrice",
    "Mixture",
    "MixtureSpec",
    "Model",
    "ModelError",
    "ModelRole",
    "ModelSpec",
    "NamedSpec",
    "NotRecorded",
    "OfflineError",
    "Price",
    "Prices",
    "PromptResponse",
    "RateLimited",
    "Recorder",
    "Recordings",
    "Replay",
    "ReplaySpec",
    "Request",
    "RequestTimeout",
    "ResponseCache",
    "Sampling",
    "Scorer",
    "ScriptedModel",
    "Streamer",
    "TemplateError",
    "UnknownModel",
    "Usage",
    "get_model",
    "load_model",
    "load_prices",
    "offline_mode",
    "register_model",
    "wrap_model",
]
