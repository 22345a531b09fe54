"""What generates: local models, endpoints, recordings, and the wrappers around any of them."""

from backtalk.models.budget import Budget, Price, Prices, Spent, load_prices
from backtalk.models.cache import Cached, ResponseCache
from backtalk.models.doubles import FromFunction, Scripted
from backtalk.models.embed import (
    HashedTfidf,
    SentenceEmbedder,
    embedder_from_files,
    embedder_to_files,
)
from backtalk.models.endpoint import Endpoint
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
from backtalk.models.ledger import Ledger, Role
from backtalk.models.local import LocalModel
from backtalk.models.metered import Metered
from backtalk.models.mixture import Mixture
from backtalk.models.offline import forbid_endpoints
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
from backtalk.models.recorder import Recorder
from backtalk.models.recordings import Recordings
from backtalk.models.register import named_model, register_model
from backtalk.models.replay import Replay
from backtalk.models.spec import (
    EndpointSpec,
    LocalSpec,
    MixtureSpec,
    ModelSpec,
    NamedSpec,
    ReplaySpec,
    load_model,
)
from backtalk.models.wrapping import around

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
    "HashedTfidf",
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
    "SentenceEmbedder",
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
    "embedder_from_files",
    "embedder_to_files",
    "forbid_endpoints",
    "load_model",
    "load_prices",
    "named_model",
    "register_model",
]
