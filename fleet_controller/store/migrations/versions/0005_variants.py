"""A release has variants, and a rollout takes the digest of any of them."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand."""
    with op.batch_alter_table("releases", schema=None) as batch_op:
        batch_op.add_column(sa.Column("variants", sa.JSON(none_as_null=True), nullable=True))
    with op.batch_alter_table("rollouts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("digests", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    """Back to the state before."""
    with op.batch_alter_table("rollouts", schema=None) as batch_op:
        batch_op.drop_column("digests")
    with op.batch_alter_table("releases", schema=None) as batch_op:
        batch_op.drop_column("variants")
