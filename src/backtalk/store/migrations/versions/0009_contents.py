"""Large parts of messages, which are stored once.

Interactions that are in the store already stay as they are.
"""

import sqlalchemy as sa
from alembic import op

from backtalk.store.contents import whole_body

revision = "0009"
down_revision = "0008"

_BATCH_SIZE = 100


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "contents",
        sa.Column("project", sa.Integer, sa.ForeignKey("projects.id"), primary_key=True),
        sa.Column("digest", sa.String, primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_table(
        "content_uses",
        sa.Column("project", sa.Integer, primary_key=True),
        sa.Column("interaction", sa.String, primary_key=True),
        sa.Column("digest", sa.String, primary_key=True),
        sa.ForeignKeyConstraint(["project", "digest"], ["contents.project", "contents.digest"]),
    )
    op.create_index("ix_content_uses_digest", "content_uses", ["project", "digest"])


def downgrade() -> None:
    """Put the parts back into the interactions, and drop the tables."""
    connection = op.get_bind()
    query = sa.text(
        "SELECT seq, project, body FROM interactions WHERE seq > :after AND EXISTS "
        "(SELECT 1 FROM content_uses WHERE content_uses.project = interactions.project "
        "AND content_uses.interaction = interactions.id) ORDER BY seq LIMIT :limit"
    )
    write = sa.text("UPDATE interactions SET body = :body WHERE seq = :seq")
    after = -1
    while rows := connection.execute(query, {"after": after, "limit": _BATCH_SIZE}).all():
        for row in rows:
            body = whole_body(connection, row.project, row.body)
            connection.execute(write, {"body": body, "seq": row.seq})
        after = rows[-1].seq
    op.drop_table("content_uses")
    op.drop_table("contents")
