"""Tables of a store.

Records are stored whole as JSON in ``body``; the other columns repeat the fields that SQL queries
need. All times are microseconds since 1970, UTC.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()
"""Tables. A partial index has its condition in ``info["where"]``, which migrations pass on to each
SQL dialect; as an argument of the index it would load all of them."""

_Key = BigInteger().with_variant(Integer, "sqlite")


def _key() -> Column[int]:
    return Column("seq", _Key, primary_key=True, autoincrement=True)


def _project() -> Column[int]:
    return Column("project", Integer, ForeignKey("projects.id"), nullable=False)


projects = Table(
    "projects",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String, nullable=False, unique=True),
)

interactions = Table(
    "interactions",
    metadata,
    _key(),
    _project(),
    Column("id", String, nullable=False),
    Column("time", BigInteger),
    Column("user", String),
    Column("policy", String),
    Column("session", String),
    Column("prompt_key", String, nullable=False),
    Column("responses", Integer, nullable=False),
    Column("distinct_responses", Integer, nullable=False, server_default=text("1")),
    Column("received", BigInteger, nullable=False),
    Column("deleted", BigInteger),
    Column("body", Text, nullable=False),
    UniqueConstraint("project", "id", name="uq_interactions_id"),
)
Index("ix_interactions_order", interactions.c.project, interactions.c.seq)
_HAS_USER = interactions.c.user.is_not(None)
Index(
    "ix_interactions_user",
    interactions.c.project,
    interactions.c.user,
    info={"where": _HAS_USER},
)

_SEVERAL = interactions.c.responses >= text("2")
Index(
    "ix_interactions_several",  # partial: few interactions have several responses to compare
    interactions.c.project,
    interactions.c.seq,
    info={"where": _SEVERAL},
)
_HAS_SESSION = interactions.c.session.is_not(None)
Index(
    "ix_interactions_session",
    interactions.c.project,
    interactions.c.session,
    interactions.c.seq,
    info={"where": _HAS_SESSION},
)

feedback = Table(
    "feedback",
    metadata,
    _key(),
    _project(),
    Column("id", String, nullable=False),
    Column("interaction", String),
    Column("kind", String, nullable=False),
    Column("annotator", String, nullable=False),
    Column("annotator_kind", String, nullable=False),
    Column("aspect", String),
    Column("response", String),
    Column("other", String),
    Column("value", Float),
    Column("confidence", Float),
    Column("time", BigInteger),
    Column("received", BigInteger, nullable=False),
    Column("deleted", BigInteger),
    Column("body", Text, nullable=False),
    UniqueConstraint("project", "id", name="uq_feedback_id"),
)
Index("ix_feedback_interaction", feedback.c.project, feedback.c.interaction)
Index("ix_feedback_order", feedback.c.project, feedback.c.seq)

documents = Table(
    "documents",
    metadata,
    _key(),
    _project(),
    Column("kind", String, nullable=False),
    Column("id", String, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    UniqueConstraint("project", "kind", "id", name="uq_documents_id"),
)

events = Table(
    "events",
    metadata,
    _key(),
    _project(),
    Column("topic", String, nullable=False),
    Column("number", Integer, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("actor", String, nullable=False),
    Column("body", Text, nullable=False),
    UniqueConstraint("project", "topic", "number", name="uq_events_number"),
)

pending_feedback = Table(
    "pending_feedback",  # feedback that arrived before its interaction
    metadata,
    _key(),
    _project(),
    Column("id", String, nullable=False),
    Column("interaction", String, nullable=False),
    Column("annotator", String, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    UniqueConstraint("project", "id", name="uq_pending_feedback_id"),
)
Index(
    "ix_pending_feedback_interaction",
    pending_feedback.c.project,
    pending_feedback.c.interaction,
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String, primary_key=True),
    Column("project", String),  # its name; null for a key of all projects
    Column("name", String, nullable=False),
    Column("role", String, nullable=False),
    Column("digest", String, nullable=False, unique=True),
    Column("previous_digest", String),  # the digest before the last rotation
    Column("previous_expires", BigInteger),
    Column("created", BigInteger, nullable=False),
    Column("revoked", BigInteger),
)

audit = Table(
    "audit",
    metadata,
    _key(),
    Column("time", BigInteger, nullable=False),
    Column("project", String),
    Column("actor", String, nullable=False),
    Column("action", String, nullable=False),
    Column("body", Text, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    _key(),
    _project(),
    Column("id", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("state", String, nullable=False),  # waiting, done, failed
    Column("created", BigInteger, nullable=False),
    Column("not_before", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("ended", BigInteger),
    Column("error", Text),
    Column("result", Text),
    Column("body", Text, nullable=False),
    UniqueConstraint("project", "id", name="uq_jobs_id"),
)
Index("ix_jobs_state", jobs.c.project, jobs.c.kind, jobs.c.state)

leases = Table(
    "leases",
    metadata,
    Column("project", Integer, ForeignKey("projects.id"), primary_key=True),
    Column("name", String, primary_key=True),
    Column("holder", String, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("term", Integer, nullable=False),  # fencing token: increases with each new holder
)

assignments = Table(
    "assignments",  # items of annotation tasks given to annotators
    metadata,
    _key(),
    _project(),
    Column("task", String, nullable=False),
    Column("interaction", String, nullable=False),
    Column("annotator", String, nullable=False),
    Column("state", String, nullable=False),  # open, done, skipped
    Column("opened", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("ended", BigInteger),
    UniqueConstraint("project", "task", "interaction", "annotator", name="uq_assignments_once"),
)
Index(
    "ix_assignments_items",  # covers the queries that count annotators per item
    assignments.c.project,
    assignments.c.task,
    assignments.c.interaction,
    assignments.c.state,
    assignments.c.expires,
    assignments.c.annotator,
)
Index(
    "ix_assignments_annotator",
    assignments.c.project,
    assignments.c.task,
    assignments.c.annotator,
    assignments.c.state,
)

memories = Table(
    "memories",
    metadata,
    Column("id", Integer, primary_key=True),
    _project(),
    Column("name", String, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("rows", BigInteger, nullable=False),  # number of the last entry
    Column("changes", BigInteger, nullable=False),  # number of the last change
    UniqueConstraint("project", "name", name="uq_memories_name"),
)


def _memory() -> Column[int]:
    return Column("memory", Integer, ForeignKey("memories.id"), primary_key=True)


memory_entries = Table(
    "memory_entries",
    metadata,
    _memory(),
    Column("row", BigInteger, primary_key=True, autoincrement=False),  # is never used again
    Column("id", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("state", String, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("superseded", Integer),  # revision that superseded it, null if none did
    Column("body", Text, nullable=False),
    UniqueConstraint("memory", "id", name="uq_memory_entries_id"),
)
Index(
    "ix_memory_entries_state",
    memory_entries.c.memory,
    memory_entries.c.state,
    memory_entries.c.row,
)
Index(
    "ix_memory_entries_kind",
    memory_entries.c.memory,
    memory_entries.c.kind,
    memory_entries.c.state,
    memory_entries.c.row,
)
Index(
    "ix_memory_entries_revision",
    memory_entries.c.memory,
    memory_entries.c.revision,
    memory_entries.c.row,
)

memory_links = Table(
    "memory_links",  # users, people, feedback, interactions and other entries of an entry
    metadata,
    _memory(),
    Column("role", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("row", BigInteger, primary_key=True, autoincrement=False),
)

memory_topics = Table(
    "memory_topics",  # subjects of an entry, by which contradicting entries are found
    metadata,
    _memory(),
    Column("topic", String, primary_key=True),
    Column("user", String, primary_key=True),  # empty for all users
    Column("row", BigInteger, primary_key=True, autoincrement=False),
)
Index("ix_memory_topics_row", memory_topics.c.memory, memory_topics.c.row)

memory_changes = Table(
    "memory_changes",
    metadata,
    _memory(),
    Column("number", BigInteger, primary_key=True, autoincrement=False),  # is never used again
    Column("row", BigInteger, nullable=False),
    Column("entry", String, nullable=False),
    Column("action", String, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("actor", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("before", Text),  # entry before the change; null if it was added
)
Index(
    "ix_memory_changes_row",
    memory_changes.c.memory,
    memory_changes.c.row,
    memory_changes.c.number,
)

aggregates = Table(
    "aggregates",  # sums that are extended as records arrive, by topic
    metadata,
    _key(),
    _project(),
    Column("topic", String, nullable=False),
    Column("key", String, nullable=False),  # empty for the position that the sums have reached
    Column("version", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    UniqueConstraint("project", "topic", "key", name="uq_aggregates_key"),
)

contents = Table(
    "contents",  # large parts of messages, by the digest of their text
    metadata,
    Column("project", Integer, ForeignKey("projects.id"), primary_key=True),
    Column("digest", String, primary_key=True),
    Column("body", Text, nullable=False),  # as JSON
)

content_uses = Table(
    "content_uses",  # interactions that have a large part
    metadata,
    Column("project", Integer, primary_key=True),
    Column("interaction", String, primary_key=True),
    Column("digest", String, primary_key=True),
    ForeignKeyConstraint(["project", "digest"], ["contents.project", "contents.digest"]),
)
Index("ix_content_uses_digest", content_uses.c.project, content_uses.c.digest)
