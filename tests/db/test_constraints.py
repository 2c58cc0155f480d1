"""Table models validate nothing by themselves; the database holds the line."""

import pytest
from sqlalchemy.exc import IntegrityError
from sqlmodel import select

from assetforge.db.models import Asset, CaptionEdit, Image, Reference
from assetforge.db.models_jobs import Job


@pytest.fixture
def asset(project):
    with project.write() as session:
        session.add(Asset(id=1, name="mara", type="character"))
        session.add(Image(sha256="0" * 64, size=1, format="PNG", mode="RGB", width=1, height=1, phash=0, sharpness=0.0))
    return project


@pytest.mark.parametrize(
    ("row", "constraint"),
    [
        (lambda: Reference(asset_id=1, sha256="0" * 64, state="lovely"), "ck_reference_state_known"),
        (lambda: Reference(asset_id=1, sha256="0" * 64, split="test"), "ck_reference_split_known"),
        (lambda: Reference(asset_id=7, sha256="0" * 64), "FOREIGN KEY"),
        (lambda: Reference(asset_id=1, sha256="1" * 64), "FOREIGN KEY"),
        (lambda: CaptionEdit(reference_id=7, text="", source="", author=""), "FOREIGN KEY"),
        (lambda: Asset(name="mara", type="prop"), "UNIQUE"),
        (lambda: Job(kind="cook", created_at=0.0), "ck_job_kind_known"),
        (lambda: Job(kind="train", state="QUEUED", created_at=0.0), "ck_job_state_known"),
    ],
)
def test_wrong_rows_are_refused_and_the_transaction_with_them(asset, row, constraint):
    def write():
        with asset.write() as session:
            session.add(Asset(name="other", type="prop"))
            session.add(row())

    with pytest.raises(IntegrityError, match=constraint):
        write()
    with asset.read() as session:
        assert session.exec(select(Asset.name)).all() == ["mara"]


def test_one_open_job_per_dedupe_key(project):
    def enqueue(state):
        with project.write() as session:
            session.add(Job(kind="train", state=state, dedupe_key="train mara", created_at=0.0))

    enqueue("succeeded")
    enqueue("queued")
    enqueue("failed")
    with pytest.raises(IntegrityError, match="UNIQUE"):
        enqueue("running")
