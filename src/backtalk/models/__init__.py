"""What generates: local models, endpoints, recordings, and the wrappers around any of them."""

from backtalk.models.endpoint.endpoint import Endpoint
from backtalk.models.endpoint.offline import forbid_endpoints
from backtalk.models.errors import (
    BadReply,
    BudgetSpent,
    ContextTooLong,
    EndpointForbidden,
    ModelError,
    NotRecorded,
    RateLimited,
    RequestRefused,
    TemplateError,
    TimedOut,
    Unauthorised,
    UnknownModel,
    Unpriced,
    Unreachable,
)
from backtalk.models.fakes import FromFunction, Scripted
from backtalk.models.local.mixture import Mixture
from backtalk.models.local.model import LocalModel
from backtalk.models.protocol import (
    Completion,
    Embedder,
    FinishReason,
    Model,
    Request,
    Sampling,
    Scorer,
    Streamer,
    Usage,
)
from backtalk.models.registry import named_model, register_model
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
from backtalk.models.wrappers.budget import Budget, Price, Prices, Spent, load_prices
from backtalk.models.wrappers.budgeted import Metered
from backtalk.models.wrappers.cache import Cached, ResponseCache
from backtalk.models.wrappers.ledger import Ledger, Role
from backtalk.models.wrappers.recorder import Recorder
from backtalk.models.wrappers.wrap import around

__all__ = [
    "BadReply",
    "Budget",
    "BudgetSpent",
    "Cached",
    "Completion",
    "ContextTooLong",
    "Embedder",
    "Endpoint",
    "EndpointForbidden",
    "EndpointSpec",
    "FinishReason",
    "FromFunction",
    "Ledger",
    "LocalModel",
    "LocalSpec",
    "Metered",
    "Mixture",
    "MixtureSpec",
    "Model",
    "ModelError",
    "ModelSpec",
    "NamedSpec",
    "NotRecorded",
    "Price",
    "Prices",
    "RateLimited",
    "Recorder",
    "Recordings",
    "Replay",
    "ReplaySpec",
    "Request",
    "RequestRefused",
    "ResponseCache",
    "Role",
    "Sampling",
    "Scorer",
    "Scripted",
    "Spent",
    "Streamer",
    "TemplateError",
    "TimedOut",
    "Unauthorised",
    "UnknownModel",
    "Unpriced",
    "Unreachable",
    "Usage",
    "around",
    "forbid_endpoints",
    "load_model",
    "load_prices",
    "named_model",
    "register_model",
]
