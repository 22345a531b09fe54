"""Which policy answers, and what it takes to let it answer: all that a policy can be is applied."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from backtalk.artifacts import Artifacts
from backtalk.decode import Decoded, Sample
from backtalk.errors import BacktalkError, NotFound
from backtalk.feedback import Message
from backtalk.models import Completion, EndpointSpec, Model, Request, Usage
from backtalk.models.wrappers.dynamic_batching import DynamicBatcher
from backtalk.policy import LoadedPolicy, Policy, list_policies, load_policy, read_policy
from backtalk.promotion import active_policy
from backtalk.serve.errors import APIError
from backtalk.serve.settings import UpstreamSettings
from backtalk.serve.store_connection import UNAVAILABLE, StoreConnection
from backtalk.store import Store

PREFIX = "backtalk:"

_FRESH_SECONDS = 1.0
"""How long a promotion may take to be noticed."""
_READ_SECONDS = 0.5
"""How long a request waits for a store that is slow; then what was served before answers."""
_MOST_LOADED = 8
_AT_ONCE = 64
"""How many requests policies answer at a time on this machine."""

T = TypeVar("T")


@dataclass(frozen=True)
class ModelName:
    """What a model's name asks for."""

    project: str
    policy: str | None
    """``None`` for the one that is promoted."""


def parse_model_name(model: Any) -> ModelName | None:
    """Return what a model's name asks for, ``None`` where it is an upstream's.

    >>> parse_model_name("backtalk:mail"), parse_model_name("backtalk:mail/brief"), parse_model_name("gpt-5")
    (Wanted(project='mail', policy=None), Wanted(project='mail', policy='brief'), None)
    """
    if not isinstance(model, str) or not model.startswith(PREFIX):
        return None
    project, _, policy = model.removeprefix(PREFIX).partition("/")
    return ModelName(project, policy or None)


@dataclass(frozen=True)
class ResolvedPolicy:
    """A policy, and where its artifacts are."""

    policy: Policy
    artifacts: Artifacts

    def upstream(self, own: Sequence[UpstreamSettings]) -> UpstreamSettings | None:
        """Return where the policy's requests go as they are, but for what the policy changes.

        Only a policy that draws one sample from a model behind an address can be served so.

        Parameters
        ----------
        own : sequence of UpstreamSettings
            The gateway's upstreams: the first answers for a policy that names no address.
        """
        spec = self.policy.model
        if not isinstance(spec, EndpointSpec) or not isinstance(self.policy.decoder, Sample):
            return None
        if spec.base_url is None:
            return own[0].model_copy(update={"model": None}) if own else None
        return UpstreamSettings(base_url=spec.base_url, api_key_env=spec.api_key_env)


class PolicyResolver:
    """Finds policies in the store, loads them, and lets them answer on a thread of their own.

    A policy that was found once goes on answering while the store is away, and what was promoted
    is remembered on disk.

    Parameters
    ----------
    keeper : StoreConnection
        The store.
    folder : Path
        Where promoted policies are remembered.
    own : sequence of UpstreamSettings
        The gateway's upstreams.
    """

    def __init__(
        self, keeper: StoreConnection, folder: Path, own: Sequence[UpstreamSettings]
    ) -> None:
        self._keeper = keeper
        self._folder = folder / "served"
        self._own = own
        self._found: dict[ModelName, tuple[float, ResolvedPolicy]] = {}
        self._reading: dict[ModelName, asyncio.Task[ResolvedPolicy]] = {}
        self._loaded: OrderedDict[str, LoadedPolicy] = OrderedDict()
        self._loading = threading.Lock()
        self._work = BackgroundLoop()

    async def find(self, wanted: ModelName) -> ResolvedPolicy:
        """Return the policy that is wanted.

        Raises
        ------
        Refused
            If there is none.
        """
        known = self._found.get(wanted)
        if known is not None and time.monotonic() - known[0] < _FRESH_SECONDS:
            return known[1]
        if wanted not in self._reading:
            reading = asyncio.create_task(self._read_again(wanted))
            self._reading[wanted] = reading
            reading.add_done_callback(lambda _: self._reading.pop(wanted, None))
        reading = self._reading[wanted]
        patience = None if known is None else _READ_SECONDS
        await asyncio.wait([reading], timeout=patience)
        if known is not None and not reading.done():
            return known[1]
        return await reading

    async def _read_again(self, wanted: ModelName) -> ResolvedPolicy:
        """Read a policy, or fall back on what is remembered; one reading serves all who wait."""
        try:
            result = await asyncio.to_thread(self._read, wanted)
        except NotFound as error:
            self._found.pop(wanted, None)
            raise APIError(404, str(error), code="model_not_found", param="model") from None
        except (*UNAVAILABLE, BacktalkError) as error:
            known = self._found.get(wanted)
            kept = known[1] if known is not None else self._recall(wanted)
            if kept is None:
                raise APIError(
                    503,
                    f"The policy cannot be read: the store is away ({error})",
                    headers={"retry-after": "2"},
                ) from None
            result = kept
        self._found[wanted] = (time.monotonic(), result)
        return result

    async def names(self, project: str | None) -> list[tuple[str, int]]:
        """Return the models that policies can be asked as, with the second each was made.

        Parameters
        ----------
        project : str or None
            Only this one's; all projects', if left out.
        """
        try:
            return await asyncio.to_thread(self._names, project)
        except (*UNAVAILABLE, BacktalkError):
            return [
                (f"{PREFIX}{wanted.project}" + (f"/{wanted.policy}" if wanted.policy else ""), 0)
                for wanted in self._found
                if project in {None, wanted.project}
            ]

    async def decode(
        self,
        found: ResolvedPolicy,
        prompt: tuple[Message, ...],
        *,
        asked: Mapping[str, Any],
        samples: int,
    ) -> list[Decoded]:
        """Let a policy answer, as often as samples are asked for.

        Parameters
        ----------
        found : ResolvedPolicy
            The policy.
        prompt : tuple of Message
            Chat messages, without the policy's own.
        asked : Mapping[str, Any]
            The body of the request: its limit of tokens, its stops and what is not the policy's to
            decide are passed on to the model.
        samples : int
            How many answers.
        """
        seed = asked.get("seed")
        first = seed if isinstance(seed, int) else secrets.randbelow(2**31)

        async def work() -> list[Decoded]:
            loaded = await asyncio.to_thread(self._load, found)
            model = OverriddenModel(loaded.model, asked)
            policy = LoadedPolicy(loaded.policy, model, loaded.rewards)
            answers = await asyncio.gather(
                *(policy.decode([prompt], seed=first + i) for i in range(samples))
            )
            return [decoded for (decoded,) in answers]

        return await self._work.run(work())

    def close(self) -> None:
        """End the thread."""
        self._work.close()

    def _read(self, wanted: ModelName) -> ResolvedPolicy:
        store = self._project(wanted.project)
        if wanted.policy is not None:
            return ResolvedPolicy(read_policy(store, wanted.policy), store.artifacts)
        policy = active_policy(store)
        if policy is None:
            raise NotFound(
                f"Project {wanted.project!r} serves no policy yet",
                f"`backtalk promote NAME --project {wanted.project}` serves one",
            )
        self._remember(wanted, policy)
        return ResolvedPolicy(policy, store.artifacts)

    def _project(self, name: str) -> Store:
        projects = self._keeper.store().projects()
        if name not in projects:
            raise NotFound(f"There is no project {name!r}", f"Known: {', '.join(projects)}")
        return self._keeper.store(name)

    def _names(self, project: str | None) -> list[tuple[str, int]]:
        results = []
        for name in self._keeper.store().projects():
            if project not in {None, name}:
                continue
            store = self._keeper.store(name)
            if active_policy(store) is not None:
                results.append((f"{PREFIX}{name}", 0))
            for policy in list_policies(store):
                made = policy.lineage.time
                second = 0 if made is None else int(made.timestamp())
                results.append((f"{PREFIX}{name}/{policy.name or policy.id}", second))
        return results

    def _remember(self, wanted: ModelName, policy: Policy) -> None:
        path = self._path(wanted)
        text = policy.to_json()
        with contextlib.suppress(OSError):
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                path.write_text(text, encoding="utf-8")

    def _recall(self, wanted: ModelName) -> ResolvedPolicy | None:
        if wanted.policy is not None:
            return None
        try:
            policy = Policy.model_validate_json(self._path(wanted).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return ResolvedPolicy(policy, self._keeper.artifacts())

    def _path(self, wanted: ModelName) -> Path:
        return self._folder / f"{quote(wanted.project, safe='')}.json"

    def _load(self, found: ResolvedPolicy) -> LoadedPolicy:
        """Load a policy, once; those that were not asked for the longest are dropped."""
        policy = found.policy
        with self._loading:
            if policy.id not in self._loaded:
                is_here = not isinstance(policy.model, EndpointSpec)
                self._loaded[policy.id] = load_policy(
                    self._addressed(policy),
                    found.artifacts,
                    wrap=DynamicBatcher if is_here else None,
                )
            self._loaded.move_to_end(policy.id)
            while len(self._loaded) > _MOST_LOADED:
                self._loaded.popitem(last=False)
            return self._loaded[policy.id]

    def _addressed(self, policy: Policy) -> Policy:
        """Return the policy with the gateway's upstream where it names no address itself."""
        spec = policy.model
        if not isinstance(spec, EndpointSpec) or spec.base_url is not None or not self._own:
            return policy
        own = self._own[0]
        address = {"base_url": own.base_url, "api_key_env": spec.api_key_env or own.api_key_env}
        return policy.model_copy(update={"model": spec.model_copy(update=address)})


_DECIDED = frozenset(
    {
        "model", "messages", "prompt", "n", "stream", "stream_options", "seed", "temperature",
        "top_p", "max_tokens", "max_completion_tokens", "stop", "logprobs", "top_logprobs", "user",
        "metadata", "store", "safety_identifier", "prompt_cache_key",
    }
)  # fmt: skip
"""What the policy decides, or what is none of the model's business."""


class OverriddenModel:
    """A model that is given what a request asks for besides its messages.

    The policy decides how tokens are drawn. The request may ask for fewer tokens and for further
    stops, and its tools and other options go to the model.

    Parameters
    ----------
    model : Model
        What answers.
    asked : Mapping[str, Any]
        The body of the request.
    """

    def __init__(self, model: Model, asked: Mapping[str, Any]) -> None:
        self._model = model
        self._options = {name: v for name, v in asked.items() if name not in _DECIDED}
        self._most = token_limit(asked)
        stop = asked.get("stop")
        self._stop = (stop,) if isinstance(stop, str) else tuple(stop or ())

    @property
    def name(self) -> str:
        """That of the model."""
        return self._model.name

    @property
    def identity(self) -> str:
        """That of the model."""
        return self._model.identity

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Return one completion a request."""
        return await self._model.generate([self._with(request) for request in requests])

    def bound(self, request: Request) -> Usage:
        """Return the most that a request can use."""
        return self._model.bound(self._with(request))

    def _with(self, request: Request) -> Request:
        sampling = request.sampling
        changes: dict[str, Any] = {}
        if self._most is not None:
            changes["max_tokens"] = min(sampling.max_tokens, self._most)
        if self._stop:
            changes["stop"] = (*sampling.stop, *self._stop)
        return request.model_copy(
            update={
                "sampling": sampling.model_copy(update=changes),
                "options": {**request.options, **self._options},
            }
        )


def token_limit(asked: Mapping[str, Any]) -> int | None:
    """Return the most tokens that a request asks for, ``None`` where it does not say."""
    given = [asked.get("max_completion_tokens"), asked.get("max_tokens")]
    limits = [limit for limit in given if isinstance(limit, int) and limit > 0]
    return min(limits) if limits else None


def to_upstream_body(policy: Policy, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a request as a policy sends it to its endpoint.

    Parameters
    ----------
    policy : Policy
        One that draws one sample from a model behind an address.
    asked : Mapping[str, Any]
        The body as it came.
    """
    spec, decoder = policy.model, policy.decoder
    assert isinstance(spec, EndpointSpec)
    assert isinstance(decoder, Sample)
    sampling = decoder.sampling
    body = {
        **asked,
        "model": spec.model,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
    }
    if policy.system is not None and isinstance(asked.get("messages"), list):
        body["messages"] = [{"role": "system", "content": policy.system}, *asked["messages"]]
    field = spec.limit_field or (
        "max_completion_tokens" if "max_completion_tokens" in asked else "max_tokens"
    )
    for name in ("max_tokens", "max_completion_tokens"):
        body.pop(name, None)
    body[field] = min(sampling.max_tokens, token_limit(asked) or sampling.max_tokens)
    if sampling.stop:
        own = asked.get("stop")
        body["stop"] = [*sampling.stop, *([own] if isinstance(own, str) else own or [])]
    if spec.log_probabilities:
        body["logprobs"] = True
    if spec.send_seed is False:
        body.pop("seed", None)
    return body


class BackgroundLoop:
    """An event loop on a thread of its own, so that what computes does not hold up the gateway."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._thread = threading.Thread(target=self._run, name="backtalk-policies", daemon=True)
        self._thread.start()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something there and return its result."""

        async def placed() -> T:
            async with self._places:
                return await work

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(placed(), self._loop))

    def close(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()
