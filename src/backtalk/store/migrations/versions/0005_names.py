"""Rename tables and columns to the terms of the field."""

from alembic import op

revision = "0005"
down_revision = "0004"

_COLUMNS = (
    ("audit", "who", "actor"),
    ("journal", "who", "actor"),
    ("api_keys", "made", "created"),
    ("api_keys", "former", "previous_digest"),
    ("api_keys", "former_until", "previous_expires"),
    ("jobs", "made", "created"),
    ("jobs", "tries", "attempts"),
    ("leases", "until", "expires"),
    ("assignments", "until", "expires"),
)

_TABLES = (
    ("journal", "events", "number", ["project", "topic", "number"]),
    ("waiting", "pending_feedback", "id", ["project", "id"]),
)
"""Old name, new name, last part of the unique constraint's name, and its columns."""


def upgrade() -> None:
    """Give tables and columns their new names."""
    for table, old, new in _COLUMNS:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")
    for old, new, suffix, columns in _TABLES:
        op.rename_table(old, new)
        with op.batch_alter_table(new) as batch:
            batch.drop_constraint(f"uq_{old}_{suffix}", type_="unique")
            batch.create_unique_constraint(f"uq_{new}_{suffix}", columns)
    op.drop_index("ix_waiting_interaction", "pending_feedback")
    op.create_index(
        "ix_pending_feedback_interaction", "pending_feedback", ["project", "interaction"]
    )


def downgrade() -> None:
    """Give tables and columns their old names back."""
    op.drop_index("ix_pending_feedback_interaction", "pending_feedback")
    op.create_index("ix_waiting_interaction", "pending_feedback", ["project", "interaction"])
    for old, new, suffix, columns in _TABLES:
        with op.batch_alter_table(new) as batch:
            batch.drop_constraint(f"uq_{new}_{suffix}", type_="unique")
            batch.create_unique_constraint(f"uq_{old}_{suffix}", columns)
        op.rename_table(new, old)
    for table, old, new in _COLUMNS:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {new} TO {old}")
