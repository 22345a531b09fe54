#!/bin/sh
# mem0ai 2.2.1: to add one sentence takes a prompt of 33,900 characters.
#
# Memory.add() with its default infer=True lets a language model extract what is to be remembered.
# Each call sends the instructions for that anew, about 8,600 tokens for a model of today, whatever
# the length of the message. A model with a context of 8,192 tokens can extract nothing, and a
# conversation of ten short turns, added turn by turn, costs 86,000 tokens. With infer=False the
# sentence is stored as it is, and no model is called. Neither add(prompt=...) nor the setting
# custom_instructions shortens the instructions: both are added to them.
#
# Expected: a prompt of some hundred tokens, or a documented size.
#
# Output seen:
#   infer=True: 1 call of the model with 33,863 characters for a message of 22
#   infer=False: 0 calls of the model
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --no-compile "mem0ai==2.2.1"
cat > check.py <<'PYTHON'
import json
import os
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

os.environ |= {"MEM0_TELEMETRY": "False", "MEM0_DIR": tempfile.mkdtemp()}

MESSAGE = "I prefer metric units."
SIZES = []


class Endpoint(BaseHTTPRequestHandler):
    """Chat completions that extract nothing, and constant embeddings."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/embeddings"):
            count = len(body["input"]) if isinstance(body["input"], list) else 1
            data = [
                {"object": "embedding", "index": index, "embedding": [0.5, 0.5]}
                for index in range(count)
            ]
            reply = {"object": "list", "model": "embedder", "data": data}
        else:
            SIZES.append(sum(len(message["content"]) for message in body["messages"]))
            message = {"role": "assistant", "content": json.dumps({"memory": []})}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            reply = {
                "id": "1", "object": "chat.completion", "created": 0, "model": "small",
                "choices": [choice],
            }
        content = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


from mem0 import Memory

server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
threading.Thread(target=server.serve_forever, daemon=True).start()
key = {"api_key": "none", "openai_base_url": f"http://127.0.0.1:{server.server_port}/v1"}
folder = tempfile.mkdtemp()
memory = Memory.from_config({
    "llm": {"provider": "openai", "config": {"model": "small", **key}},
    "embedder": {
        "provider": "openai", "config": {"model": "embedder", "embedding_dims": 2, **key},
    },
    "vector_store": {
        "provider": "qdrant",
        "config": {"path": folder, "embedding_model_dims": 2, "on_disk": False},
    },
    "history_db_path": os.path.join(folder, "history.db"),
})
calls = {}
for infer in (True, False):
    SIZES.clear()
    memory.add([{"role": "user", "content": MESSAGE}], user_id="ada", infer=infer)
    calls[infer] = list(SIZES)
print(
    f"infer=True: {len(calls[True])} call of the model with {calls[True][0]:,} characters"
    f" for a message of {len(MESSAGE)}"
)
print(f"infer=False: {len(calls[False])} calls of the model")
assert len(calls[True]) == 1 and 30_000 < calls[True][0] < 40_000 and not calls[False]
PYTHON
venv/bin/python check.py 2> errors || { cat errors; exit 1; }
