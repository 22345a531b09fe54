"""OpenAssistant: conversation trees with ranked and labelled replies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from backtalk.feedback.annotator import Annotator
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Interaction, Message, Response
from backtalk.feedback.kinds import AnyFeedback, Label, Ranking, Rating, Scale
from backtalk.formats.content_ids import make_case, make_feedback, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format
from backtalk.formats.readers import RejectedRow, Row

_VOLUNTEERS = Annotator.human("open-assistant")

_POSITIVE_LABELS = ("quality", "helpfulness", "creativity", "humor")
_NEGATIVE_LABELS = {
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
"""Opposite aspect for each label of something bad."""
_METADATA_FIELDS = ("lang", "emojis", "detoxify", "review_count", "synthetic")


def _matches(row: RowData) -> bool:
    tree = "message_tree_id" in row and isinstance(row.get("prompt"), dict)
    return tree or {"thread_id", "thread"} <= set(row) or {"message_id", "role"} <= set(row)


def _preprocess(rows: Iterator[Row | RejectedRow]) -> Iterator[Row | RejectedRow]:
    """Combine single messages into trees; they are held in memory until the end of the file."""
    nodes: dict[str, Row] = {}
    for row in rows:
        if isinstance(row, RejectedRow) or "message_id" not in row.data:
            yield row
        elif (id_ := str(row.data["message_id"])) in nodes:
            yield RejectedRow(row.source, row.line, f"message_id: {id_!r} occurs twice", row.data)
        else:
            nodes[id_] = row._replace(data={**row.data, "replies": []})
    children = defaultdict(list)
    for id_, row in nodes.items():
        parent = row.data.get("parent_id")
        children[None if parent is None else str(parent)].append(id_)
    rooted = set(children[None])
    pending = list(children[None])
    while pending:
        id_ = pending.pop()
        nodes[id_].data["replies"] = [nodes[reply].data for reply in children[id_]]
        rooted.update(children[id_])
        pending += children[id_]
    for id_, row in nodes.items():
        if id_ not in rooted:
            parent = str(row.data["parent_id"])
            reason = "is not in this file"
            if parent in nodes:
                reason = "belongs to no conversation whose first message is in this file"
            yield RejectedRow(row.source, row.line, f"parent_id: {parent!r} {reason}", row.data)
    roots = [nodes[id_] for id_ in children[None]]
    for root in roots:
        tree = root.data.get("message_tree_id") or root.data["message_id"]
        yield root._replace(data={"message_tree_id": tree, "prompt": root.data})


@import_format(
    "openassistant",
    title="OpenAssistant trees, threads and messages",
    source="https://github.com/LAION-AI/Open-Assistant/tree/main/oasst-data",
    matches=_matches,
    columns=("prompt", "thread", "labels", "rank", "replies", "user_id", "review_result"),
    preprocess=_preprocess,
)
def openassistant(row: RowData) -> list[Case]:
    """Parse one case per prompter message with replies; its prompt is the path to the message.

    Ranks become a ranking, and the review a label. Labels, which are means over volunteers, become
    ratings on the unit scale; a label of something bad becomes one minus its value for the opposite
    aspect. Deleted messages are left out with all their replies.
    """
    fields = Fields(row)
    if "thread" in fields:
        tree, root = fields.text("thread_id"), _thread_as_tree(fields.objects("thread"))
    else:
        tree, root = fields.text("message_tree_id"), fields.object("prompt")
    cases: list[Case] = []
    pending: list[tuple[Fields, tuple[Message, ...], str | None]] = [(root, (), None)]
    while pending:
        node, path, parent = pending.pop()
        replies = _replies(node, "assistant")
        path = (*path, Message.user(node.text("text")))
        if replies:
            case = _case(node, replies, path, tree, parent)
            cases.append(case)
            parent = case.interaction.id
        for reply in reversed(replies):
            next_path = (*path, Message.assistant(reply.text("text")))
            pending += [
                (message, next_path, parent) for message in reversed(_replies(reply, "prompter"))
            ]
    return cases


def _thread_as_tree(thread: list[Fields]) -> Fields:
    """Return a thread as a tree in which the next message is the only reply of each."""
    node: dict[str, Any] = {}
    for message in reversed(thread):
        node = {**message.data, "replies": [node] if node else []}
    return Fields(node, "thread")


def _replies(node: Fields, role: str) -> list[Fields]:
    if "replies" not in node:
        return []
    replies = [reply for reply in node.objects("replies") if not reply.data.get("deleted")]
    for reply in replies:
        if reply.text("role") != role:
            raise reply.error("role", f"expected {role!r}, as roles alternate")
    return replies


def _case(
    node: Fields,
    replies: list[Fields],
    path: tuple[Message, ...],
    tree: str,
    parent: str | None,
) -> Case:
    interaction = make_interaction(
        path,
        [
            Response(
                id=reply.text("message_id"),
                text=reply.text("text"),
                model=reply.optional_text("model_name"),
                metadata=reply.select(*_METADATA_FIELDS, "user_id", "created_date"),
            )
            for reply in replies
        ],
        distinct=[node.text("message_id")],
        user=node.optional_text("user_id"),
        session=tree,
        parent=parent,
        time=node.timestamp("created_date"),
        metadata=node.select(*_METADATA_FIELDS, "labels", "review_result"),
    )
    feedback: list[AnyFeedback] = _ranking(interaction, replies)
    for reply in replies:
        feedback += _labels(interaction, reply)
    return make_case(interaction, feedback)


def _ranking(interaction: Interaction, replies: list[Fields]) -> list[AnyFeedback]:
    tiers: dict[int, list[str]] = defaultdict(list)
    for reply in replies:
        if "rank" in reply:
            tiers[reply.integer("rank")].append(reply.text("message_id"))
    if sum(map(len, tiers.values())) < 2:
        return []
    tiers_in_order = tuple(tuple(tiers[rank]) for rank in sorted(tiers))
    return [make_feedback(Ranking, interaction, _VOLUNTEERS, tiers=tiers_in_order)]


def _labels(interaction: Interaction, reply: Fields) -> list[AnyFeedback]:
    response = reply.text("message_id")
    feedback: list[AnyFeedback] = []
    for name, label in _labels_by_name(reply).items():
        value = label.optional_number("value")
        if value is None or not (name in _POSITIVE_LABELS or name in _NEGATIVE_LABELS):
            continue
        feedback.append(
            make_feedback(
                Rating,
                interaction,
                _VOLUNTEERS,
                response=response,
                value=value if name in _POSITIVE_LABELS else 1 - value,
                scale=Scale.UNIT,
                aspect=_NEGATIVE_LABELS.get(name, name),
                metadata=label.select("count"),
            )
        )
    if "review_result" in reply:
        good = reply.boolean("review_result")
        feedback.append(
            make_feedback(
                Label, interaction, _VOLUNTEERS, response=response, good=good, aspect="review"
            )
        )
    return feedback


def _labels_by_name(message: Fields) -> dict[str, Fields]:
    """Return the labels of a message by name; Parquet files store them as columns."""
    if "labels" not in message:
        return {}
    labels = message.object("labels")
    if not isinstance(labels.data.get("name"), list):
        return {name: labels.object(name) for name in labels.data if name in labels}
    columns = [labels.array(name) for name in ("name", "value", "count")]
    if len(set(map(len, columns))) > 1:
        raise labels.error("value", "the lists of name, value and count differ in length")
    return {
        name: Fields({"value": value, "count": count}, labels.field_path(name))
        for name, value, count in zip(*columns, strict=True)
    }
