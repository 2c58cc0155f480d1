"""A film that went through training and rendering is sound, survives losses, collections and a move to another place."""

import json
import os
import subprocess
import sys
import time

import pytest

from assetforge.cli.app import run
from assetforge.services.maintenance import blob_needs
from assetforge.services.projects import open_project

pytest.importorskip("assetforge_example")


@pytest.fixture
def assetforge(monkeypatch, capsys):
    """``assetforge(film, words) -> document``; what waits for jobs runs in a process of its own that knows the example plugin only."""
    monkeypatch.setenv("ASSETFORGE_PLUGINS", "example")

    def call(film, *words, code=0):
        line = [*map(str, words), "--project", str(film), "--json"]
        if "--wait" in words:
            command = [sys.executable, "-m", "assetforge", *line]
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=240, check=False, env=os.environ.copy()
            )
            assert done.returncode == code, done.stderr + done.stdout
            return json.loads(done.stdout)
        capsys.readouterr()
        outcome = run(line)
        out, err = capsys.readouterr()
        assert outcome == code, err + out
        return json.loads(out)

    return call


def _make_everything_old(project):
    old = time.time() - 30 * 86400
    for path in project.paths.private.rglob("*"):
        if path.is_file() and path.name != "forge.db":
            os.utime(path, (old, old))
    with project.write() as session:
        session.connection().exec_driver_sql("UPDATE job SET finished_at = ?", (old,))


@pytest.mark.slow
def test_a_real_film_is_kept(assetforge, project, make_png, tmp_path):
    film = project.root
    for seed in range(6):
        make_png(tmp_path / "pictures" / f"{seed}.png", seed=seed)
    assetforge(film, "asset", "add", "coat", "--type", "costume", "--trigger", "rdcoat")
    assetforge(film, "ref", "add", "coat", tmp_path / "pictures")
    assetforge(film, "dataset", "freeze", "coat")
    assetforge(film, "train", "coat", "--set", "steps=10", "--wait")
    assetforge(film, "render", "coat/v1", "--wait")
    report = assetforge(film, "fsck", "--deep")["report"]
    assert report["problems"] == []
    assert report["needed"] == report["blobs"] > 8

    # What a job took in or put out as it is stored can be brought back from its folder; weights get their version's name when they are stored.
    lost = [sha256 for sha256, need in blob_needs(project.paths.database).items() if not need.weights]
    for sha256 in lost:
        project.blobs.path(sha256).unlink()
    assert len(assetforge(film, "fsck", "--quick", code=1)["report"]["problems"]) == len(lost)
    assert assetforge(film, "fsck", "--repair")["sound"]

    _make_everything_old(project)
    taken = assetforge(film, "gc", "--yes")["by_kind"]
    assert "blob" not in taken
    assert taken["job"] > 0
    assert assetforge(film, "fsck", "--deep")["report"]["problems"] == []
    assert assetforge(film, "run", "show", "1")

    copy, moved = tmp_path / "film.tar", tmp_path / "elsewhere"
    assetforge(film, "backup", copy)
    assetforge(film, "restore", copy, "--to", moved)
    assert assetforge(moved, "fsck", "--deep")["report"]["problems"] == []
    assetforge(moved, "version", "publish", "coat/v1")
    # The same training is recognised in the new place.
    again = assetforge(moved, "train", "coat", "--set", "steps=10", "--wait")
    assert again.get("reused") or "coat/v1" in json.dumps(again)
    with open_project(moved) as restored:
        assert restored.id == project.id
