"""Configurations: their revisions, what is desired of each device, and rollouts of them."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand."""
    op.create_table(
        "configurations",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("contract_low", sa.Integer(), nullable=False),
        sa.Column("contract_high", sa.Integer(), nullable=True),
        sa.Column("agent", sa.String(length=64), nullable=False),
        sa.Column("operator", sa.String(length=63), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", "revision", name=op.f("pk_configurations")),
    )
    with op.batch_alter_table("desired", schema=None) as batch_op:
        batch_op.add_column(sa.Column("configuration", sa.JSON(none_as_null=True), nullable=True))
    with op.batch_alter_table("rollouts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("kind", sa.String(length=16), nullable=False, server_default="model"))
    with op.batch_alter_table("rollout_devices", schema=None) as batch_op:
        batch_op.add_column(sa.Column("previous_name", sa.String(length=63), nullable=True))


def downgrade() -> None:
    """Back to the state before."""
    with op.batch_alter_table("rollout_devices", schema=None) as batch_op:
        batch_op.drop_column("previous_name")
    with op.batch_alter_table("rollouts", schema=None) as batch_op:
        batch_op.drop_column("kind")
    with op.batch_alter_table("desired", schema=None) as batch_op:
        batch_op.drop_column("configuration")
    op.drop_table("configurations")
