"""OpenAssistant: conversation trees with ranked and labelled replies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from backtalk.feedback.annotator import Annotator
from backtalk.feedback.interaction import Interaction, Message, Response
from backtalk.feedback.judgements import Label, Ranking, Rating, Scale
from backtalk.feedback.kinds import AnyFeedback
from backtalk.feedback.views import Case
from backtalk.formats.content_ids import case, feedback, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import Data, import_format
from backtalk.formats.readers import RejectedRow, Row

_VOLUNTEERS = Annotator.human("open-assistant")

_MERITS = ("quality", "helpfulness", "creativity", "humor")
_FAULTS = {
    "fails_task": "does_task",
    "hate_speech": "no_hate_speech",
    "lang_mismatch": "right_language",
    "not_appropriate": "appropriate",
    "pii": "no_pii",
    "political_content": "no_political_content",
    "sexual_content": "no_sexual_content",
    "spam": "no_spam",
    "toxicity": "no_toxicity",
    "violence": "no_violence",
}
"""For each label that means something bad, the aspect of which it is the lack."""
_KEPT = ("lang", "emojis", "detoxify", "review_count", "synthetic")


def _looks_like(row: Data) -> bool:
    tree = "message_tree_id" in row and isinstance(row.get("prompt"), dict)
    return tree or {"thread_id", "thread"} <= set(row) or {"message_id", "role"} <= set(row)


def _gather(found: Iterator[Row | RejectedRow]) -> Iterator[Row | RejectedRow]:
    """Put single messages together into trees; they are held in memory until the file ends."""
    nodes: dict[str, Row] = {}
    for row in found:
        if isinstance(row, RejectedRow) or "message_id" not in row.data:
            yield row
        elif (id_ := str(row.data["message_id"])) in nodes:
            yield RejectedRow(row.source, row.line, f"message_id: {id_!r} is there twice", row.data)
        else:
            nodes[id_] = row._replace(data={**row.data, "replies": []})
    trees = defaultdict(list)
    for id_, row in nodes.items():
        parent = row.data.get("parent_id")
        trees[None if parent is None else str(parent)].append(id_)
    rooted = set(trees[None])
    waiting = list(trees[None])
    while waiting:
        id_ = waiting.pop()
        nodes[id_].data["replies"] = [nodes[reply].data for reply in trees[id_]]
        rooted.update(trees[id_])
        waiting += trees[id_]
    for id_, row in nodes.items():
        if id_ not in rooted:
            parent = str(row.data["parent_id"])
            reason = "is not in this file"
            if parent in nodes:
                reason = "is in no conversation whose first message is in this file"
            yield RejectedRow(row.source, row.line, f"parent_id: {parent!r} {reason}", row.data)
    roots = [nodes[id_] for id_ in trees[None]]
    for root in roots:
        tree = root.data.get("message_tree_id") or root.data["message_id"]
        yield root._replace(data={"message_tree_id": tree, "prompt": root.data})


@import_format(
    "openassistant",
    title="OpenAssistant trees, threads and messages",
    source="https://github.com/LAION-AI/Open-Assistant/tree/main/oasst-data",
    looks_like=_looks_like,
    gather=_gather,
)
def openassistant(row: Data) -> list[Case]:
    """A case for each prompter's message that was answered; its prompt is the path to it.

    Ranks become a ranking; labels, which are means over volunteers, ratings on the unit scale,
    of something bad as one minus its value for the opposite aspect; the review a label. Messages
    that were deleted are left out with all that follows them.
    """
    fields = Fields(row)
    if "thread" in fields:
        tree, root = fields.text("thread_id"), _chain(fields.parts("thread"))
    else:
        tree, root = fields.text("message_tree_id"), fields.part("prompt")
    results: list[Case] = []
    waiting: list[tuple[Fields, tuple[Message, ...], str | None]] = [(root, (), None)]
    while waiting:
        node, path, parent = waiting.pop()
        answers = _replies(node, "assistant")
        path = (*path, Message.user(node.text("text")))
        if answers:
            one = _case(node, answers, path, tree, parent)
            results.append(one)
            parent = one.interaction.id
        for answer in reversed(answers):
            after = (*path, Message.assistant(answer.text("text")))
            waiting += [(next_, after, parent) for next_ in reversed(_replies(answer, "prompter"))]
    return results


def _chain(thread: list[Fields]) -> Fields:
    """Return a thread as a tree in which each message has the next one as its only reply."""
    node: dict[str, Any] = {}
    for message in reversed(thread):
        node = {**message.data, "replies": [node] if node else []}
    return Fields(node, "thread")


def _replies(node: Fields, role: str) -> list[Fields]:
    if "replies" not in node:
        return []
    replies = [reply for reply in node.parts("replies") if not reply.data.get("deleted")]
    for reply in replies:
        if reply.text("role") != role:
            raise reply.error("role", f"expected {role!r} after the other, got another role")
    return replies


def _case(
    node: Fields,
    answers: list[Fields],
    path: tuple[Message, ...],
    tree: str,
    parent: str | None,
) -> Case:
    interaction = make_interaction(
        path,
        [
            Response(
                id=answer.text("message_id"),
                text=answer.text("text"),
                model=answer.words("model_name"),
                metadata=answer.some(*_KEPT, "user_id", "created_date"),
            )
            for answer in answers
        ],
        distinct=[node.text("message_id")],
        user=node.words("user_id"),
        session=tree,
        parent=parent,
        time=node.timestamp("created_date"),
        metadata=node.some(*_KEPT, "labels", "review_result"),
    )
    said: list[AnyFeedback] = _ranking(interaction, answers)
    for answer in answers:
        said += _labels(interaction, answer)
    return case(interaction, said)


def _ranking(interaction: Interaction, answers: list[Fields]) -> list[AnyFeedback]:
    tiers: dict[int, list[str]] = defaultdict(list)
    for answer in answers:
        if "rank" in answer:
            tiers[answer.integer("rank")].append(answer.text("message_id"))
    if sum(map(len, tiers.values())) < 2:
        return []
    order = tuple(tuple(tiers[rank]) for rank in sorted(tiers))
    return [feedback(Ranking, interaction, _VOLUNTEERS, tiers=order)]


def _labels(interaction: Interaction, answer: Fields) -> list[AnyFeedback]:
    response = answer.text("message_id")
    said: list[AnyFeedback] = []
    for name, label in _by_name(answer).items():
        value = label.maybe_number("value")
        if value is None or not (name in _MERITS or name in _FAULTS):
            continue
        said.append(
            feedback(
                Rating,
                interaction,
                _VOLUNTEERS,
                response=response,
                value=value if name in _MERITS else 1 - value,
                scale=Scale.UNIT,
                aspect=_FAULTS.get(name, name),
                metadata=label.some("count"),
            )
        )
    if "review_result" in answer:
        good = answer.flag("review_result")
        said.append(
            feedback(Label, interaction, _VOLUNTEERS, response=response, good=good, aspect="review")
        )
    return said


def _by_name(answer: Fields) -> dict[str, Fields]:
    """Return the labels of a message, which Parquet files hold by columns."""
    if "labels" not in answer:
        return {}
    labels = answer.part("labels")
    if not isinstance(labels.data.get("name"), list):
        return {name: labels.part(name) for name in labels.data if name in labels}
    columns = [labels.items(name) for name in ("name", "value", "count")]
    return {
        name: Fields({"value": value, "count": count}, labels.where(name))
        for name, value, count in zip(*columns, strict=False)
    }
