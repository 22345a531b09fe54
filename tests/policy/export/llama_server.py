"""Server of llama.cpp, in this process."""

import json
from pathlib import Path

import xllamacpp


class LlamaServer:
    """llama.cpp with one GGUF file, computing in float32 on one thread."""

    def __init__(self, path: Path) -> None:
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(path)
        parameters.n_parallel = 1
        parameters.warmup = False
        parameters.use_jinja = True
        parameters.verbosity = 0
        parameters.cpuparams.n_threads = 1
        parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        parameters.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self._server = xllamacpp.Server(parameters)

    def chat(self, messages, **options):
        """Return the first choice of the answer to chat messages, with the usage."""
        body = _checked(self._server.handle_chat_completions({"messages": messages, **options}))
        return body["choices"][0] | {"usage": body["usage"]}

    def complete(self, prompt, **options):
        """Return the first choice of the completion of a text, or of token ids."""
        body = _checked(self._server.handle_completions({"prompt": prompt, **options}))
        return body["choices"][0] | {"usage": body["usage"]}

    def next_log_probabilities(self, prompt, count=20):
        """Return the log-probabilities of the likeliest tokens after a prompt, by id.

        They are empty if the likeliest token is a part of a character.
        """
        choice = self.complete(prompt, temperature=0, max_tokens=1, logprobs=count)
        content = (choice["logprobs"] or {}).get("content") or [{"top_logprobs": []}]
        return {token["id"]: token["logprob"] for token in content[0]["top_logprobs"]}


def _checked(body):
    body = json.loads(body) if isinstance(body, str) else body
    assert "error" not in body, body
    return body
