"""Claims about documentation of tools: a real model calls tools whose documentation is wrong."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jsonschema
import numpy as np

from backtalk.decode import Sample
from backtalk.feedback import Interaction, Message, as_prompt
from backtalk.feedback.interaction import Prompt
from backtalk.learn import TrainingSet, get_method
from backtalk.learn.no_improvement import NoImprovement
from backtalk.learn.prompt.tools.calls import tool_calls
from backtalk.models import Request, Sampling, load_model
from backtalk.models.run_sync import run_sync
from backtalk.policy import Policy, PromptTemplate
from backtalk.run import Run
from backtalk.store import Store
from claims.claim import Expected, above, claim
from claims.smollm2 import SMOLLM2

REQUESTS = 24
"""Number of stored requests, half of which confirm the documentation."""
RECORDED = 12
"""Number of stored requests with a call that succeeded, which a person made."""
TESTED = 10
"""Number of other requests by which the documentation is compared."""
PLACES = ("Rome", "Oslo", "Lima", "Paris", "Madrid", "Cairo", "Tokyo", "Quito", "Delhi", "Bern")
ROOMS = ("kitchen", "garage", "bedroom", "office", "cellar", "attic", "hall", "bathroom")
DRINKS = ("tea", "coffee", "cocoa", "milk", "water", "juice", "lemonade", "cider")
ARTISTS = ("Bach", "Mozart", "Prince", "Adele", "Queen", "Abba", "Bowie", "Sade")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True)
class DocumentedTool:
    """Tool with two text arguments, the second one a choice that its documentation gets wrong."""

    name: str
    description: str
    subject: str
    subjects: tuple[str, ...]
    choice: str
    words: Mapping[str, str]
    """Values that the tool takes, each with the words of a user."""
    phrases: tuple[str, ...]
    """Templates of requests."""

    @property
    def definition(self) -> dict[str, Any]:
        """Definition as a request has it: the types of the arguments, without the choices."""
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": self._schema({"type": "string"}),
            },
        }

    def _schema(self, choice: dict[str, Any]) -> dict[str, Any]:
        properties = {self.subject: {"type": "string"}, self.choice: choice}
        return {"type": "object", "properties": properties, "required": list(properties)}

    def run(self, arguments: Any) -> str:
        """Return the result of a call.

        Raises
        ------
        jsonschema.ValidationError
            If an argument is missing, or its value is none that the tool takes.
        """
        jsonschema.validate(arguments, self._schema({"enum": list(self.words)}))
        return f"done: {arguments[self.subject]}, {arguments[self.choice]}"

    def requests(self, count: int, rng: np.random.Generator) -> list[tuple[str, dict[str, str]]]:
        """Return distinct requests with the arguments that they need."""
        texts: dict[str, dict[str, str]] = {}
        while len(texts) < count:
            subject = self.subjects[rng.integers(len(self.subjects))]
            value = list(self.words)[rng.integers(len(self.words))]
            phrase = self.phrases[rng.integers(len(self.phrases))]
            text = phrase.format(subject=subject, words=self.words[value])
            texts[text] = {self.subject: subject, self.choice: value}
        return list(texts.items())


TOOLS = (
    DocumentedTool(
        "set_light",
        "Switches a light. The state is 1 or 0.",
        "room",
        ROOMS,
        "state",
        {"on": "on", "off": "off"},
        ("Switch the light in the {subject} {words}.", "Turn {words} the {subject} light, please."),
    ),
    DocumentedTool(
        "find_train",
        "Finds a train. The class is 1 or 2.",
        "city",
        PLACES,
        "class",
        {"first": "first", "second": "second"},
        ("I need a train to {subject} in {words} class.", "{words} class to {subject}, please."),
    ),
    DocumentedTool(
        "order_drink",
        "Orders a drink. The size is S, M or L.",
        "drink",
        DRINKS,
        "size",
        {"small": "small", "medium": "medium", "large": "large"},
        ("A {words} {subject}, please.", "I would like {subject}, {words}."),
    ),
    DocumentedTool(
        "play_music",
        "Plays music. The volume is from 0 to 10.",
        "artist",
        ARTISTS,
        "volume",
        {"quiet": "quietly", "loud": "loudly"},
        ("Play {subject} {words}.", "Put on some {subject}, and play it {words}."),
    ),
    DocumentedTool(
        "get_forecast",
        "Weather of a day. The unit is C or F.",
        "day",
        DAYS,
        "unit",
        {"celsius": "Celsius", "fahrenheit": "Fahrenheit"},
        ("How warm will it be on {subject}, in {words}?", "{subject}'s weather in {words}."),
    ),
)


@claim(
    system="DRAFT",
    paper="Qu et al. (2024), From exploration to mastery: enabling LLMs to master tools via "
    "self-driven interactions, table 2",
    method="draft",
    says="A real model (SmolLM2-135M) calls a tool correctly more often with documentation that is "
    "amended by trial and error than with the original, which is wrong about one argument. The "
    "amendments need no model: one of this size cannot rewrite documentation.",
    expected=[
        above(
            "gain",
            "share of held-out requests with the right call: amended less original documentation",
            paper="correct path rate 84 to 88 % with DRAFT, 62 to 76 % without, by GPT-4o",
        ),
        Expected(
            "succeeds",
            "share of held-out calls that the tool takes, with the amended documentation",
            above=0.5,
            paper="no such figure",
        ),
    ],
)
def draft(seed: int) -> Mapping[str, float]:
    """Amend the documentation of one tool for each seed by the results of the model's own calls."""
    tool = TOOLS[seed % len(TOOLS)]
    rng = np.random.default_rng(seed)
    requests = tool.requests(min(REQUESTS + TESTED, _most_requests(tool)), rng)
    tested, stored = requests[:TESTED], requests[TESTED:]
    policy = Policy(
        model=SMOLLM2, decoder=Sample(sampling=Sampling(temperature=0.0, max_tokens=40))
    )
    with TemporaryDirectory() as folder, Store(Path(folder) / "store.db") as store:
        file = Path(folder) / "tools.json"
        file.write_text(json.dumps([tool.definition]))
        for number, (text, arguments) in enumerate(stored):
            store.add(
                transcript(tool, text, arguments) if number < RECORDED else Interaction.of(text)
            )
        with Run(seed=seed) as run, serve_tool(tool) as url:
            try:
                learned = run_sync(
                    get_method("draft").learn(
                        policy,
                        TrainingSet(store, split="all"),
                        run,
                        tools=str(file),
                        executor=url,
                        rewrite=False,
                        candidates=2,
                        examples=6,
                        confirmation=8,
                    )
                )
            except NoImprovement:
                learned = policy
    after, before = (measure(tool, one, tested) for one in (learned, policy))
    return {"gain": after["right"] - before["right"], "succeeds": after["succeeds"]}


def transcript(tool: DocumentedTool, text: str, arguments: dict[str, str]) -> Interaction:
    """Return the interaction of a request with a call and its result.

    Parameters
    ----------
    tool : DocumentedTool
        Tool that is called.
    text : str
        Request.
    arguments : dict of str to str
        Arguments of the call.
    """
    function = {"name": tool.name, "arguments": json.dumps(arguments)}
    call = {"id": "0", "type": "function", "function": function}
    return Interaction(
        prompt=(
            Message.user(text),
            Message(role="assistant", content=None, tool_calls=(call,)),
            Message(role="tool", content=tool.run(arguments), tool_call_id="0"),
        )
    )


def _most_requests(tool: DocumentedTool) -> int:
    return len(tool.subjects) * len(tool.words) * len(tool.phrases)


def measure(
    tool: DocumentedTool, policy: Policy, tested: Sequence[tuple[str, dict[str, str]]]
) -> dict[str, float]:
    """Return the shares of requests whose call succeeds, and whose call is the right one.

    Parameters
    ----------
    tool : DocumentedTool
        Tool that is called.
    policy : Policy
        Policy that calls it.
    tested : sequence of tuple
        Requests with the right arguments.
    """
    template = policy.prompt or PromptTemplate()
    prompts: list[Prompt] = [as_prompt(text) for text, _ in tested]
    completions = run_sync(
        load_model(policy.model).generate(
            [
                Request(
                    messages=policy.messages(prompt),
                    sampling=policy.decoder.base_sampling,
                    options={"tools": template.with_tools([tool.definition])},
                )
                for prompt in prompts
            ]
        )
    )
    succeeds, right = [], []
    for completion, (_, needed) in zip(completions, tested, strict=True):
        (call,) = tool_calls([completion.message] if completion.message else [])
        try:
            tool.run(call.arguments)
            succeeds.append(True)
        except jsonschema.ValidationError:
            succeeds.append(False)
        right.append(succeeds[-1] and call.arguments == needed)
    return {"succeeds": float(np.mean(succeeds)), "right": float(np.mean(right))}


@contextmanager
def serve_tool(tool: DocumentedTool) -> Iterator[str]:
    """Serve a tool at a loopback address, which is the result."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            try:
                status, text = 200, tool.run(body["arguments"])
            except jsonschema.ValidationError as error:
                status, text = 400, f"{error.json_path.removeprefix('$.')}: {error.message}"
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *arguments: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
