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
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
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
    Column("received", BigInteger, nullable=False),
    Column("deleted", BigInteger),
    Column("body", Text, nullable=False),
    UniqueConstraint("project", "id", name="uq_interactions_id"),
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
