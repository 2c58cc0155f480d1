import threading

import pytest

from assetforge.domain.canonical import digest
from assetforge.errors import NotFoundError, UsageError
from assetforge.services.releases import alias_log, approve, publish, reject, set_alias
from assetforge.services.versions import resolve_version, show_version


def test_approval_keeps_its_evidence(world):
    approve(world.project, "mara/v1", why="first", review="skipped")
    info = world.compare("mara/v2")
    review = approve(world.project, "mara/v2", why="the scar is right now", review="skipped")
    assert (review.previous, review.stage) == ("mara/v1", "approved")
    assert review.evidence["comparison"] == info.id
    assert review.evidence["summary_digest"] == digest(info.summary)
    assert review.evidence["baseline"] == "mara/v1"
    entries = alias_log(world.project, "mara")
    assert [(entry.name, entry.previous, entry.version, entry.why) for entry in entries] == [
        ("approved", "mara/v1", "mara/v2", "the scar is right now"),
        ("approved", "", "mara/v1", "first"),
    ]
    # The one before was approved by a person, and stays so.
    assert resolve_version(world.project, "mara/v1").stage == "approved"
    assert resolve_version(world.project, "mara@approved").number == 2


def test_going_back_is_an_approval_too(world):
    for address in ("mara/v1", "mara/v2", "mara/v1"):
        approve(world.project, address, why="so", review="skipped")
    assert resolve_version(world.project, "mara@approved").number == 1
    assert len(alias_log(world.project, "mara", "approved")) == 3


def test_rejection(world):
    reject(world.project, "mara/v2", why="hands melt")
    assert resolve_version(world.project, "mara/v2").stage == "rejected"
    assert alias_log(world.project)[0].name == "rejected"
    with pytest.raises(UsageError, match="was rejected"):
        publish(world.project, "mara/v2")
    approve(world.project, "mara/v1", why="good", review="skipped")
    with pytest.raises(UsageError, match="is the approved version"):
        reject(world.project, "mara/v1", why="no")


def test_reviews_need_reasons(world):
    for act in (approve, reject):
        with pytest.raises(UsageError, match="needs a reason"):
            act(world.project, "mara/v1", why="  ")
    assert alias_log(world.project) == []


def test_aliases_have_rules(world):
    entry = set_alias(world.project, "mara@festival-cut", "mara/v1", why="as screened")
    assert (entry.previous, entry.version) == ("", "mara/v1")
    assert set_alias(world.project, "mara@festival-cut", "mara/v2").previous == "mara/v1"
    for alias in ("mara@latest", "mara@approved", "mara@rejected", "mara", "mara@Bad Name"):
        with pytest.raises(UsageError):
            set_alias(world.project, alias, "mara/v1")
    with pytest.raises(NotFoundError):
        alias_log(world.project, "nobody")


def test_publishing_never_overwrites(world):
    first = publish(world.project, "mara/v2")
    assert first.path == world.project.root / "loras" / "mara" / "mara-v002.safetensors"
    assert first.written
    assert first.path.read_bytes() == world.project.blobs.path(first.sha256).read_bytes()
    again = publish(world.project, "mara@latest")
    assert not again.written
    assert len(show_version(world.project, "mara/v2").publications) == 1
    first.path.chmod(0o644)
    first.path.write_bytes(b"somebody else's")
    with pytest.raises(UsageError, match="is another file"):
        publish(world.project, "mara/v2")
    assert first.path.read_bytes() == b"somebody else's"
    assert [path.name for path in first.path.parent.iterdir()] == [first.path.name]


def test_a_file_that_somebody_deleted_is_published_again(world):
    path = publish(world.project, "mara/v1").path
    path.unlink()
    assert publish(world.project, "mara/v1").written
    assert path.is_file()


def test_two_publishers_at_once_leave_one_whole_file(world):
    outcomes = []

    def go():
        outcomes.append(publish(world.project, "mara/v1").written)

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 4
    assert any(outcomes)
    assert len(list((world.project.root / "loras" / "mara").iterdir())) == 1
