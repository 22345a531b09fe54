"""What serving needs: feedback that waits for its interaction, API keys, an audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def _key() -> sa.Column[int]:
    key = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    return sa.Column("seq", key, primary_key=True, autoincrement=True)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "waiting",
        _key(),
        sa.Column("project", sa.Integer, sa.ForeignKey("projects.id"), nullable=False),
        sa.Column("id", sa.String, nullable=False),
        sa.Column("interaction", sa.String, nullable=False),
        sa.Column("annotator", sa.String, nullable=False),
        sa.Column("received", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.UniqueConstraint("project", "id", name="uq_waiting_id"),
    )
    op.create_index("ix_waiting_interaction", "waiting", ["project", "interaction"])
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("project", sa.String),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("role", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False, unique=True),
        sa.Column("former", sa.String),
        sa.Column("former_until", sa.BigInteger),
        sa.Column("made", sa.BigInteger, nullable=False),
        sa.Column("revoked", sa.BigInteger),
    )
    op.create_table(
        "audit",
        _key(),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("project", sa.String),
        sa.Column("who", sa.String, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in ("audit", "api_keys", "waiting"):
        op.drop_table(table)
