"""masks of references

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
import sqlmodel.sql.sqltypes
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("reference", "dataset_item"):
        op.add_column(table, sa.Column("mask", sqlmodel.sql.sqltypes.AutoString(), server_default="", nullable=False))
