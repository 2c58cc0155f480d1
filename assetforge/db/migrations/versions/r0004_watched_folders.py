"""watched folders

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
import sqlmodel.sql.sqltypes
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "watch_root",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("asset_id", sa.Integer(), nullable=False),
        sa.Column("path", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("mode", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("state", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("problem", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("filesystem", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("folds_names", sa.Boolean(), nullable=False),
        sa.Column("identity", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("files", sa.Integer(), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.Column("missed", sa.Integer(), nullable=False),
        sa.Column("scans", sa.Integer(), nullable=False),
        sa.Column("last_scan_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=True),
        sa.Column("last_scan_s", sa.Float(), nullable=False),
        sa.Column("updated_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.CheckConstraint("state IN ('ok', 'lost', 'problem')", name=op.f("ck_watch_root_state_known")),
        sa.ForeignKeyConstraint(["asset_id"], ["asset.id"], name=op.f("fk_watch_root_asset_id_asset")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_watch_root")),
        sa.UniqueConstraint("asset_id", "path", name=op.f("uq_watch_root_asset_id_path")),
    )
    with op.batch_alter_table("watch_root", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_watch_root_asset_id"), ["asset_id"], unique=False)

    op.create_table(
        "watched_file",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("root_id", sa.Integer(), nullable=False),
        sa.Column("path", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("ctime_ns", sa.BigInteger(), nullable=False),
        sa.Column("state", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("sha256", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("code", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("message", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("hint", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.CheckConstraint(
            "state IN ('taken', 'beside', 'quarantined', 'discarded')", name=op.f("ck_watched_file_state_known")
        ),
        sa.ForeignKeyConstraint(["root_id"], ["watch_root.id"], name=op.f("fk_watched_file_root_id_watch_root")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_watched_file")),
        sa.UniqueConstraint("root_id", "path", name=op.f("uq_watched_file_root_id_path")),
    )
    with op.batch_alter_table("watched_file", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_watched_file_sha256"), ["sha256"], unique=False)
        batch_op.create_index("ix_watched_file_state", ["state", "root_id"], unique=False)

    op.add_column(
        "reference", sa.Column("excluded_by", sqlmodel.sql.sqltypes.AutoString(), server_default="", nullable=False)
    )
