"""Resolution of model names to policies, and decoding with them."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

from backtalk.artifacts import Artifacts
from backtalk.decode import DecoderOutput
from backtalk.errors import BacktalkError, NotFound
from backtalk.feedback import Prompt
from backtalk.models import EndpointSpec, LocalSpec, MissingAddress
from backtalk.models.endpoint.address import find_default_address
from backtalk.models.text_stream import TextStream
from backtalk.models.wrappers.dynamic_batching import DynamicBatcher
from backtalk.policy import LoadedPolicy, Policy, list_policies, load_policy, read_policy
from backtalk.policy.storage import policy_names
from backtalk.promotion import active_policy
from backtalk.serve.backends.background_loop import BackgroundLoop
from backtalk.serve.backends.policy_memories import PolicyMemories
from backtalk.serve.backends.policy_requests import OverriddenModel, sample_seed
from backtalk.serve.backends.prompt_selectors import PromptSelectors
from backtalk.serve.errors import APIError
from backtalk.serve.fine_tuning.names import parse_fine_tuned
from backtalk.serve.settings import Settings, UpstreamSettings
from backtalk.serve.store_connection import UNAVAILABLE, StoreConnection
from backtalk.store import Store

PREFIX = "backtalk:"

_CACHE_SECONDS = 1.0
"""Time to live of a resolved policy, and so the maximum delay of a promotion."""
_READ_SECONDS = 0.5
"""Time limit for reading a policy from a slow store. Then the cached policy is used."""
_MAX_LOADED = 8
_MAX_PREPARED = 32
"""Maximum number of projects whose policies are read at the start."""


@dataclass(frozen=True)
class ModelName:
    """Model name of the form ``backtalk:PROJECT`` or ``backtalk:PROJECT/POLICY``."""

    project: str
    policy: str | None
    """Name or id of a policy; ``None`` for the promoted policy."""


def parse_model_name(model: Any, settings: Settings | None = None) -> ModelName | None:
    """Return the parsed model name, ``None`` if the model is an upstream's.

    The name of a model that was fine-tuned here is the name of a policy.

    Parameters
    ----------
    model : Any
        Model of a request.
    settings : Settings, optional
        Settings, which may name policies that are requested by their bare name.

    Examples
    --------
    >>> parse_model_name("backtalk:mail"), parse_model_name("gpt-5")
    (ModelName(project='mail', policy=None), None)
    >>> parse_model_name("smollm2", Settings(policies=("smollm2",)))
    ModelName(project='default', policy='smollm2')
    >>> parse_model_name("backtalk:mail/brief")
    ModelName(project='mail', policy='brief')
    """
    if not isinstance(model, str):
        return None
    if settings is not None and model in settings.policies:
        return ModelName(settings.project, model)
    if not model.startswith(PREFIX):
        fine_tuned = parse_fine_tuned(model)
        return None if fine_tuned is None else ModelName(fine_tuned.project, model)
    project, _, policy = model.removeprefix(PREFIX).partition("/")
    return ModelName(project, policy or None)


@dataclass(frozen=True)
class ResolvedPolicy:
    """Policy and the location of its artifacts."""

    policy: Policy
    artifacts: Artifacts

    @property
    def can_stream(self) -> bool:
        """True if the text of an answer can be sent while it is generated.

        That is so for policies that draw one sample from a model on this machine.
        """
        is_local = isinstance(self.policy.model, LocalSpec)
        return is_local and self.policy.decoder.is_single_sample

    def upstream_settings(self, configured: Sequence[UpstreamSettings]) -> UpstreamSettings | None:
        """Return the upstream to which requests can be forwarded, ``None`` if that is impossible.

        Requests are forwarded for policies that draw one sample from an endpoint.

        Parameters
        ----------
        configured : sequence of UpstreamSettings
            Upstreams of the gateway. The first one serves policies without an address.
        """
        spec = self.policy.model
        if not isinstance(spec, EndpointSpec) or not self.policy.decoder.is_single_sample:
            return None
        if spec.base_url is None:
            return configured[0].model_copy(update={"model": None}) if configured else None
        return UpstreamSettings(base_url=spec.base_url, api_key_env=spec.api_key_env)


class PolicyResolver:
    """Resolves model names to policies of the store, and decodes on a separate thread.

    Resolved policies stay available while the store is not. Promoted policies are cached on disk.

    Parameters
    ----------
    connection : StoreConnection
        Store.
    folder : Path
        Folder that holds the cache of promoted policies.
    upstreams : sequence of UpstreamSettings
        Upstreams of the gateway.
    memories : PolicyMemories
        Memories of the policies. That of a new policy is read before the policy is served.
    """

    def __init__(
        self,
        connection: StoreConnection,
        folder: Path,
        upstreams: Sequence[UpstreamSettings],
        memories: PolicyMemories,
    ) -> None:
        self._connection = connection
        self._memories = memories
        self._folder = folder / "served"
        self._upstreams = upstreams
        self._resolved: dict[ModelName, tuple[float, ResolvedPolicy]] = {}
        self._reading: dict[ModelName, asyncio.Task[ResolvedPolicy]] = {}
        self._loaded: OrderedDict[str, LoadedPolicy] = OrderedDict()
        self._loading = threading.Lock()
        self._loop = BackgroundLoop("backtalk-policies")
        self.selectors = PromptSelectors(self._loop)

    async def resolve(self, name: ModelName) -> ResolvedPolicy:
        """Return the policy of a model name.

        Raises
        ------
        APIError
            If the policy does not exist, or cannot be read.
        """
        cached = self._resolved.get(name)
        if cached is not None and time.monotonic() - cached[0] < _CACHE_SECONDS:
            return cached[1]
        if name not in self._reading:
            reading = asyncio.create_task(self._read_or_fall_back(name))
            self._reading[name] = reading
            reading.add_done_callback(lambda _: self._reading.pop(name, None))
        reading = self._reading[name]
        timeout = None if cached is None else _READ_SECONDS
        await asyncio.wait([reading], timeout=timeout)
        if cached is not None and not reading.done():
            return cached[1]
        return await reading

    async def prepare(self) -> None:
        """Read the promoted policies and their memories, so that first requests need not wait."""
        with contextlib.suppress(*UNAVAILABLE, BacktalkError):
            for project in await asyncio.to_thread(self._projects_with_memory):
                with contextlib.suppress(APIError):
                    await self.resolve(ModelName(project, None))

    def _projects_with_memory(self) -> list[str]:
        names = self._connection.store().projects()
        with_memory = (name for name in names if self._connection.store(name).memories.names())
        return list(islice(with_memory, _MAX_PREPARED))

    async def _read_or_fall_back(self, name: ModelName) -> ResolvedPolicy:
        """Read a policy, or fall back to the cache. Concurrent requests share one read."""
        try:
            resolved = await asyncio.to_thread(self._read, name)
            await self._memories.prepare(name.project, resolved.policy)
        except NotFound as error:
            self._resolved.pop(name, None)
            raise APIError(404, str(error), code="model_not_found", param="model") from None
        except (*UNAVAILABLE, BacktalkError) as error:
            cached = self._resolved.get(name)
            fallback = cached[1] if cached is not None else self._read_cache(name)
            if fallback is None:
                raise APIError(
                    503,
                    f"The policy cannot be read: the store is unavailable ({error})",
                    headers={"retry-after": "2"},
                ) from None
            resolved = fallback
        self._resolved[name] = (time.monotonic(), resolved)
        return resolved

    async def list_models(self, project: str | None) -> list[tuple[str, int]]:
        """Return the model names of the policies, each with its creation time in Unix seconds.

        Parameters
        ----------
        project : str or None
            Project of the policies; ``None`` for all projects.
        """
        try:
            return await asyncio.to_thread(self._read_model_names, project)
        except (*UNAVAILABLE, BacktalkError):
            return [
                (f"{PREFIX}{name.project}" + (f"/{name.policy}" if name.policy else ""), 0)
                for name in self._resolved
                if project in {None, name.project}
            ]

    async def decode(
        self,
        resolved: ResolvedPolicy,
        prompt: Prompt,
        *,
        body: Mapping[str, Any],
        samples: int,
        remembered: Sequence[str] = (),
        composed: Policy | None = None,
        streams: Sequence[TextStream] = (),
    ) -> list[DecoderOutput]:
        """Return samples of a policy.

        Parameters
        ----------
        resolved : ResolvedPolicy
            Policy.
        prompt : tuple of Message
            Chat messages, without the policy's own.
        body : Mapping[str, Any]
            Body of the request. The model gets its token limit, its stop sequences and all options
            that the policy does not set.
        samples : int
            Number of samples.
        remembered : sequence of str, default ()
            Texts of the memory entries that apply to the prompt.
        composed : Policy, optional
            Policy with the prompt that is selected for the request, if it has several.
        streams : sequence of TextStream, default ()
            Streams of the text of each sample, of a policy that can stream; none by default.

        Returns
        -------
        list of DecoderOutput
            Outputs, of length ``samples``.
        """
        seed = body.get("seed")
        first_seed = seed if isinstance(seed, int) else secrets.randbelow(2**31)

        async def decode_samples() -> list[DecoderOutput]:
            loaded = await asyncio.to_thread(self._load, resolved)
            policy = loaded.policy
            fill = isinstance(policy.model, EndpointSpec | LocalSpec)
            is_local = isinstance(policy.model, LocalSpec)
            receivers: Sequence[TextStream | None] = streams or [None] * samples
            models = [
                OverriddenModel(loaded.model, body, fill=fill, is_local=is_local, stream=stream)
                for stream in receivers
            ]
            messages = (composed or policy).messages(prompt, remembered=remembered)
            outputs = await asyncio.gather(
                *(
                    policy.decoder.decode(
                        model, [messages], rewards=loaded.rewards, seed=sample_seed(first_seed, i)
                    )
                    for i, model in enumerate(models)
                )
            )
            return [output for (output,) in outputs]

        return await self._loop.run(decode_samples())

    def close(self) -> None:
        """Stop the thread."""
        self._loop.close()

    def _read(self, name: ModelName) -> ResolvedPolicy:
        store = self._project_store(name.project)
        if name.policy is not None:
            return ResolvedPolicy(read_policy(store, name.policy), store.artifacts)
        policy = active_policy(store)
        if policy is None:
            raise NotFound(
                f"Project {name.project!r} has no promoted policy",
                f"Promote one with `backtalk promote NAME --project {name.project}`",
            )
        self._write_cache(name, policy)
        return ResolvedPolicy(policy, store.artifacts)

    def _project_store(self, name: str) -> Store:
        projects = self._connection.store().projects()
        if name not in projects:
            raise NotFound(f"There is no project {name!r}", f"Known: {', '.join(projects)}")
        return self._connection.store(name)

    def _read_model_names(self, project: str | None) -> list[tuple[str, int]]:
        results = []
        for name in self._connection.store().projects():
            if project not in {None, name}:
                continue
            store = self._connection.store(name)
            if active_policy(store) is not None:
                results.append((f"{PREFIX}{name}", 0))
            created: dict[str, int] = {}
            for policy in list_policies(store):
                time_ = policy.lineage.time
                created[policy.id] = 0 if time_ is None else int(time_.timestamp())
                if policy.name is None or parse_fine_tuned(policy.name) is None:
                    label = f"{PREFIX}{name}/{policy.name or policy.id}"
                    results.append((label, created[policy.id]))
            results += [(label, created.get(id_, 0)) for label, id_ in policy_names(store).items()]
        return results

    def _write_cache(self, name: ModelName, policy: Policy) -> None:
        path = self._path(name)
        text = policy.to_json()
        with contextlib.suppress(OSError):
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                path.write_text(text, encoding="utf-8")

    def _read_cache(self, name: ModelName) -> ResolvedPolicy | None:
        if name.policy is not None:
            return None
        try:
            policy = Policy.model_validate_json(self._path(name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return ResolvedPolicy(policy, self._connection.artifacts())

    def _path(self, name: ModelName) -> Path:
        return self._folder / f"{quote(name.project, safe='')}.json"

    def _load(self, resolved: ResolvedPolicy) -> LoadedPolicy:
        """Load a policy without its memory and compositions, or return it from the cache.

        The policies used last are in the cache. Those that differ only in these share a model.
        """
        policy = resolved.policy.derive(
            lineage=resolved.policy.lineage, memory=None, compositions=None
        )
        with self._loading:
            if policy.id not in self._loaded:
                is_local = not isinstance(policy.model, EndpointSpec)
                # PolicyMemories recalls the entries, and PromptSelectors selects the prompt.
                self._loaded[policy.id] = load_policy(
                    self._with_address(policy),
                    resolved.artifacts,
                    wrap=DynamicBatcher if is_local else None,
                )
            self._loaded.move_to_end(policy.id)
            while len(self._loaded) > _MAX_LOADED:
                self._loaded.popitem(last=False)
            return self._loaded[policy.id]

    def _with_address(self, policy: Policy) -> Policy:
        """Return the policy, with the gateway's upstream if it has no address.

        Raises
        ------
        MissingAddress
            If neither the policy, nor the gateway, nor ``OPENAI_BASE_URL`` names one.
        """
        spec = policy.model
        if not isinstance(spec, EndpointSpec) or spec.base_url is not None:
            return policy
        if not self._upstreams:
            if find_default_address() is not None:
                return policy
            raise MissingAddress(
                f"The endpoint model {spec.model!r} of the policy {policy.label} has no address",
                "Start the gateway with --upstream URL, or write `base_url` into the model",
            )
        upstream = self._upstreams[0]
        address = {
            "base_url": upstream.base_url,
            "api_key_env": spec.api_key_env or upstream.api_key_env,
        }
        return policy.model_copy(update={"model": spec.model_copy(update=address)})
