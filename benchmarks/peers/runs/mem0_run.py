"""mem0: statements are added as messages of users, and requests search the memories.

A job is read from standard input: ``{"infer": bool, "limit": int or null, "scripts": [{"said":
[{"user", "text"}], "asked": [{"user", "request"}]}]}``; ``user`` is null for everybody. The texts
that each request finds, the newest last, are written to standard output.
"""

import json
import os
import sys
import tempfile

os.environ["MEM0_TELEMETRY"] = "False"
os.environ["MEM0_DIR"] = tempfile.mkdtemp()

from mem0 import Memory
from mem0.exceptions import LLMError

ADDRESS = os.environ["ENDPOINT"] + "/v1"
EVERYBODY = "assistant"


def make_memory(folder):
    """Return an empty memory whose models are those of the endpoint."""
    key = {"api_key": "none", "openai_base_url": ADDRESS}
    dimension = int(os.environ["DIMENSION"])
    return Memory.from_config(
        {
            "llm": {"provider": "openai", "config": {"model": "small", **key}},
            "embedder": {
                "provider": "openai",
                "config": {"model": "embedder", "embedding_dims": dimension, **key},
            },
            "vector_store": {
                "provider": "qdrant",
                "config": {"path": folder, "embedding_model_dims": dimension, "on_disk": False},
            },
            "history_db_path": os.path.join(folder, "history.db"),
        }
    )


def owner(user):
    """Return the owner of what a user says, or of what is said for everybody."""
    return {"agent_id": EVERYBODY} if user is None else {"user_id": user}


def run(script, *, infer, limit):
    """Return the texts that each request of a script finds.

    Parameters
    ----------
    script : dict
        What is said, and the requests.
    infer : bool
        If true, the language model extracts what is remembered.
    limit : int or None
        Maximum number of texts; None for the default.
    """
    options = {} if limit is None else {"top_k": limit}
    with tempfile.TemporaryDirectory() as folder:
        memory = make_memory(folder)
        for item in script["said"]:
            messages = [{"role": "user", "content": item["text"]}]
            try:
                memory.add(messages, infer=infer, **owner(item["user"]))
            except LLMError as error:  # a prompt that the small model cannot read
                sys.stderr.write(f"{str(error)[:200]}\n")
        matches = []
        for item in script["asked"]:
            results = [
                result
                for user in (item["user"], None)
                for result in memory.search(item["request"], filters=owner(user), **options)[
                    "results"
                ]
            ]
            results.sort(key=lambda result: result.get("updated_at") or result["created_at"])
            if limit is not None:
                results = sorted(results, key=lambda result: -result["score"])[:limit]
            matches.append([result["memory"] for result in results])
        memory.close()
    return matches


job = json.load(sys.stdin)
outputs = [run(one, infer=job["infer"], limit=job["limit"]) for one in job["scripts"]]
sys.stdout.write("\n" + json.dumps(outputs))
