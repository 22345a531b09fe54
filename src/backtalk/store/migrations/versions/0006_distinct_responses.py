"""Count the different responses of an interaction: equal ones are not compared."""

import sqlalchemy as sa
from alembic import op

from backtalk.feedback import Interaction
from backtalk.store.row_codec import count_distinct

revision = "0006"
down_revision = "0005"

_BATCH_SIZE = 1_000


def upgrade() -> None:
    """Add the column, and count the responses of each interaction."""
    op.add_column(
        "interactions",
        sa.Column("distinct_responses", sa.Integer, nullable=False, server_default=sa.text("1")),
    )
    op.execute("UPDATE interactions SET distinct_responses = responses WHERE responses <> 1")
    connection = op.get_bind()
    query = sa.text(
        "SELECT seq, responses, body FROM interactions WHERE responses >= 2 AND seq > :after "
        "ORDER BY seq LIMIT :limit"
    )
    correct = sa.text("UPDATE interactions SET distinct_responses = :count WHERE seq = :seq")
    after = -1
    while rows := connection.execute(query, {"after": after, "limit": _BATCH_SIZE}).all():
        for row in rows:
            count = count_distinct(Interaction.model_validate_json(row.body).responses)
            if count != row.responses:
                connection.execute(correct, {"count": count, "seq": row.seq})
        after = rows[-1].seq


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("interactions", "distinct_responses")
