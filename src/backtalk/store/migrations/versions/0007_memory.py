"""Memories: their entries, the names and subjects that find them, and every change."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def _memory() -> sa.Column[int]:
    return sa.Column("memory", sa.Integer, sa.ForeignKey("memories.id"), primary_key=True)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, primary_key=True, autoincrement=False)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "memories",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("project", sa.Integer, sa.ForeignKey("projects.id"), nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("changes", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("project", "name", name="uq_memories_name"),
    )
    op.create_table(
        "memory_entries",
        _memory(),
        _number("row"),
        sa.Column("id", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("superseded", sa.Integer),
        sa.Column("body", sa.Text, nullable=False),
        sa.UniqueConstraint("memory", "id", name="uq_memory_entries_id"),
    )
    op.create_table(
        "memory_links",
        _memory(),
        sa.Column("role", sa.String, primary_key=True),
        sa.Column("name", sa.String, primary_key=True),
        _number("row"),
    )
    op.create_table(
        "memory_topics",
        _memory(),
        sa.Column("topic", sa.String, primary_key=True),
        sa.Column("user", sa.String, primary_key=True),
        _number("row"),
    )
    op.create_table(
        "memory_changes",
        _memory(),
        _number("number"),
        sa.Column("row", sa.BigInteger, nullable=False),
        sa.Column("entry", sa.String, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("before", sa.Text),
    )
    for table, suffix, columns in (
        ("memory_entries", "state", ["memory", "state", "row"]),
        ("memory_entries", "kind", ["memory", "kind", "state", "row"]),
        ("memory_entries", "revision", ["memory", "revision", "row"]),
        ("memory_topics", "row", ["memory", "row"]),
        ("memory_changes", "row", ["memory", "row", "number"]),
    ):
        op.create_index(f"ix_{table}_{suffix}", table, columns)


def downgrade() -> None:
    """Drop the tables."""
    for table in ("changes", "topics", "links", "entries"):
        op.drop_table(f"memory_{table}")
    op.drop_table("memories")
