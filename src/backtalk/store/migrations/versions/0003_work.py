"""What learning in the background needs: a queue of jobs, and leases that one holder has."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def _key() -> sa.Column[int]:
    key = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    return sa.Column("seq", key, primary_key=True, autoincrement=True)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "jobs",
        _key(),
        sa.Column("project", sa.Integer, sa.ForeignKey("projects.id"), nullable=False),
        sa.Column("id", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("made", sa.BigInteger, nullable=False),
        sa.Column("not_before", sa.BigInteger, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("ended", sa.BigInteger),
        sa.Column("error", sa.Text),
        sa.Column("result", sa.Text),
        sa.Column("body", sa.Text, nullable=False),
        sa.UniqueConstraint("project", "id", name="uq_jobs_id"),
    )
    op.create_index("ix_jobs_state", "jobs", ["project", "kind", "state"])
    op.create_table(
        "leases",
        sa.Column("project", sa.Integer, sa.ForeignKey("projects.id"), primary_key=True),
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("holder", sa.String, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("term", sa.Integer, nullable=False),
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in ("leases", "jobs"):
        op.drop_table(table)
