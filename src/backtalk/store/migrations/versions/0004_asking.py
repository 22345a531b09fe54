"""Who was asked to judge what: so many people an item, each of them once."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the table."""
    key = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "assignments",
        sa.Column("seq", key, primary_key=True, autoincrement=True),
        sa.Column("project", sa.Integer, sa.ForeignKey("projects.id"), nullable=False),
        sa.Column("task", sa.String, nullable=False),
        sa.Column("interaction", sa.String, nullable=False),
        sa.Column("annotator", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("opened", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("ended", sa.BigInteger),
        sa.UniqueConstraint(
            "project", "task", "interaction", "annotator", name="uq_assignments_once"
        ),
    )
    op.create_index(
        "ix_assignments_items",
        "assignments",
        ["project", "task", "interaction", "state", "until", "annotator"],
    )
    several = sa.text("responses >= 2")
    op.create_index(
        "ix_interactions_several",
        "interactions",
        ["project", "seq"],
        sqlite_where=several,
        postgresql_where=several,
    )
    has_session = sa.text("session IS NOT NULL")
    op.create_index(
        "ix_interactions_session",
        "interactions",
        ["project", "session", "seq"],
        sqlite_where=has_session,
        postgresql_where=has_session,
    )
    op.create_index(
        "ix_assignments_annotator", "assignments", ["project", "task", "annotator", "state"]
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_index("ix_interactions_session", "interactions")
    op.drop_index("ix_interactions_several", "interactions")
    op.drop_table("assignments")
