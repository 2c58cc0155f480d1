"""indexes for browsing

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_image_figures", "image", ["sha256", "width", "height", "sharpness", "brightness", "format"], unique=False
    )
    op.create_index(
        "ix_reference_asset_touched",
        "reference",
        ["asset_id", "state", "updated_at", "split", "near_group"],
        unique=False,
    )
    op.create_index("ix_reference_file_name", "reference", ["file_name"], unique=False)
    for column in ("caption", "rights"):
        op.create_index(
            f"ix_reference_without_{column}",
            "reference",
            ["asset_id"],
            unique=False,
            sqlite_where=sa.text(f"{column} = '' AND state = 'active'"),
        )
    op.create_index("ix_job_finished_at", "job", ["finished_at"], unique=False)
