"""verdicts and reviews

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
import sqlmodel.sql.sqltypes
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("comparison", schema=None) as batch_op:
        batch_op.add_column(sa.Column("extends_id", sa.Integer(), nullable=True))
        batch_op.create_foreign_key(
            batch_op.f("fk_comparison_extends_id_comparison"), "comparison", ["extends_id"], ["id"]
        )
        batch_op.create_index(batch_op.f("ix_comparison_extends_id"), ["extends_id"], unique=True)

    op.create_table(
        "cell_view",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("comparison_id", sa.Integer(), nullable=False),
        sa.Column("cell_index", sa.Integer(), nullable=False),
        sa.Column("actor", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["comparison_id"], ["comparison.id"], name=op.f("fk_cell_view_comparison_id_comparison")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cell_view")),
        sa.UniqueConstraint(
            "comparison_id", "cell_index", "actor", name=op.f("uq_cell_view_comparison_id_cell_index_actor")
        ),
    )
    op.create_table(
        "vote",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("comparison_id", sa.Integer(), nullable=False),
        sa.Column("cell_index", sa.Integer(), nullable=False),
        sa.Column("left_side", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("choice", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("actor", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("note", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.CheckConstraint("left_side IN ('new', 'baseline')", name=op.f("ck_vote_left_side_known")),
        sa.CheckConstraint("choice IN ('new', 'baseline', 'tie')", name=op.f("ck_vote_choice_known")),
        sa.ForeignKeyConstraint(["comparison_id"], ["comparison.id"], name=op.f("fk_vote_comparison_id_comparison")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vote")),
    )
    with op.batch_alter_table("vote", schema=None) as batch_op:
        batch_op.create_index("ix_vote_comparison_cell", ["comparison_id", "cell_index"], unique=False)

    op.create_table(
        "drift_check",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("before_evaluation_id", sa.Integer(), nullable=False),
        sa.Column("evaluation_id", sa.Integer(), nullable=False),
        sa.Column("before_control_id", sa.Integer(), nullable=True),
        sa.Column("control_id", sa.Integer(), nullable=True),
        sa.Column("outcome", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("detail", sa.JSON(), server_default="{}", nullable=False),
        sa.Column("actor", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.CheckConstraint(
            "outcome IN ('queued', 'same', 'engine', 'base', 'lora', 'unexplained', 'failed')",
            name=op.f("ck_drift_check_outcome_known"),
        ),
        *(
            sa.ForeignKeyConstraint([column], [target], name=op.f(f"fk_drift_check_{column}_{target.split('.')[0]}"))
            for column, target in (
                ("version_id", "version.id"),
                ("before_evaluation_id", "evaluation.id"),
                ("evaluation_id", "evaluation.id"),
                ("before_control_id", "evaluation.id"),
                ("control_id", "evaluation.id"),
            )
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drift_check")),
    )
    with op.batch_alter_table("drift_check", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_drift_check_version_id"), ["version_id"], unique=False)
