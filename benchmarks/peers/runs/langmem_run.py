"""langmem: a memory manager, or its store alone, gets statements, and requests search the store.

The job is that of ``mem0_run.py``.
"""

import json
import os
import sys

from langchain_core.embeddings import Embeddings
from langchain_openai import ChatOpenAI
from langgraph.store.memory import InMemoryStore
from langmem import create_memory_store_manager
from openai import OpenAI

ADDRESS = os.environ["ENDPOINT"] + "/v1"
EVERYBODY = "everybody"


class EndpointEmbeddings(Embeddings):
    """Embeddings of the endpoint."""

    def __init__(self):
        self._client = OpenAI(api_key="none", base_url=ADDRESS)

    def embed_documents(self, texts):
        """Return the vectors of texts."""
        reply = self._client.embeddings.create(
            model="embedder", input=texts, encoding_format="float"
        )
        return [item.embedding for item in reply.data]

    def embed_query(self, text):
        """Return the vector of a text."""
        return self.embed_documents([text])[0]


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
    store = InMemoryStore(
        index={"dims": int(os.environ["DIMENSION"]), "embed": EndpointEmbeddings()}
    )
    model = ChatOpenAI(model="small", base_url=ADDRESS, api_key="none", max_retries=0)
    for number, item in enumerate(script["said"]):
        user = item["user"] or EVERYBODY
        if infer:
            manager = create_memory_store_manager(
                model, namespace=("memories", user), store=store, enable_deletes=True
            )
            try:
                manager.invoke({"messages": [{"role": "user", "content": item["text"]}]})
            except Exception as error:  # noqa: BLE001 - what the small model wrote cannot be read
                sys.stderr.write(f"{type(error).__name__}: {str(error)[:200]}\n")
        else:
            store.put(("memories", user), str(number), {"content": item["text"]})
    matches = []
    for item in script["asked"]:
        results = [
            result
            for user in (item["user"], EVERYBODY)
            for result in store.search(("memories", user), query=item["request"], limit=limit or 10)
        ]
        results.sort(key=lambda result: result.updated_at)
        if limit is not None:
            results = sorted(results, key=lambda result: -(result.score or 0))[:limit]
        matches.append([text_of(result.value["content"]) for result in results])
    return matches


def text_of(content):
    """Return the text of a memory, which an extraction stores as a field of a record."""
    return content if isinstance(content, str) else str(content.get("content", content))


job = json.load(sys.stdin)
outputs = [run(one, infer=job["infer"], limit=job["limit"]) for one in job["scripts"]]
sys.stdout.write("\n" + json.dumps(outputs))
