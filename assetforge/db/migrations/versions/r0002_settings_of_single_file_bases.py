"""settings of single file bases

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
import sqlmodel.sql.sqltypes
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "base_model", sa.Column("config", sqlmodel.sql.sqltypes.AutoString(), server_default="", nullable=False)
    )
