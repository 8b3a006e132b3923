"""A result may come again with a higher revision, which takes the place of the one before."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand."""
    with op.batch_alter_table("results", schema=None) as batch_op:
        batch_op.add_column(sa.Column("revision", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    """Back to the state before."""
    with op.batch_alter_table("results", schema=None) as batch_op:
        batch_op.drop_column("revision")
