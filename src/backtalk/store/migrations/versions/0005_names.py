"""Rename columns to the terms of the field."""

from alembic import op

revision = "0005"
down_revision = "0004"

_RENAMED = (("journal", "who", "actor"), ("audit", "who", "actor"))


def upgrade() -> None:
    """Give the columns their new names."""
    for table, old, new in _RENAMED:
        with op.batch_alter_table(table) as batch:
            batch.alter_column(old, new_column_name=new)


def downgrade() -> None:
    """Give the columns their old names back."""
    for table, old, new in _RENAMED:
        with op.batch_alter_table(table) as batch:
            batch.alter_column(new, new_column_name=old)
