"""What was right for results has a table of its own, and results are found by their model."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand."""
    op.create_table(
        "feedback",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("device", sa.String(length=63), nullable=False),
        sa.Column("result_id", sa.String(length=128), nullable=False),
        sa.Column("label", sa.String(length=128), nullable=True),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("source", sa.String(length=128), nullable=True),
        sa.Column("operator", sa.String(length=63), nullable=False),
        sa.Column("time", sa.String(length=128), nullable=True),
        sa.Column("received", sa.Double(), nullable=False),
        sa.Column("replaced", sa.Double(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feedback")),
    )
    with op.batch_alter_table("feedback", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_feedback_device_state"), ["device", "state"], unique=False)
        batch_op.create_index(batch_op.f("ix_feedback_result_id"), ["result_id"], unique=False)
        batch_op.create_index(
            "uq_feedback_current",
            ["device", "result_id"],
            unique=True,
            sqlite_where=sa.text("replaced IS NULL"),
            postgresql_where=sa.text("replaced IS NULL"),
        )
    with op.batch_alter_table("results", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_results_model_received"), ["model", "received"], unique=False)


def downgrade() -> None:
    """Back to the state before."""
    with op.batch_alter_table("results", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_results_model_received"))
    op.drop_table("feedback")
