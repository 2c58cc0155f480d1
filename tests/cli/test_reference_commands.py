"""``ref``, ``caption`` and ``dataset`` as a user or a script calls them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assetforge.cli.app import run as commands
from assetforge.services.assets import add_asset
from assetforge.services.projects import Project

MakePng = Callable[..., Path]


Run = Callable[..., str]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """``run(words..., code=0)`` gives what the command printed on stdout."""

    def call(*words: object, code: int = 0) -> str:
        capsys.readouterr()
        assert commands([str(word) for word in words]) == code
        return capsys.readouterr().out

    return call


@pytest.fixture
def document(run: Run) -> Callable[..., dict[str, Any]]:
    """``document(words..., schema=...)`` gives the JSON document that the command printed."""

    def call(*words: object, schema: str) -> dict[str, Any]:
        result: dict[str, Any] = json.loads(run(*words, "--json"))
        assert result["schema"] == schema
        return result

    return call


@pytest.fixture
def inbox(project: Project) -> Path:
    return add_asset(project, "mara", "character", trigger="mara", class_word="woman").references


def test_from_a_folder_to_an_export(
    inbox: Path, make_png: MakePng, tmp_path: Path, run: Run, document: Callable[..., dict[str, Any]]
) -> None:
    for seed in range(8):
        make_png(inbox / f"{seed}.png", seed=seed)
    (inbox / "3.txt").write_text("looking left")
    (inbox / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut")
    report = document("ref", "add", "mara", schema="assetforge/ref-add/1")["report"]
    assert (len(report["added"]), [one["code"] for one in report["refused"]]) == (8, ["truncated"])
    assert "0 added, 8 known already, 1 refused." in run("ref", "add", "mara", inbox, "--flat")
    address = report["added"][0]["address"]
    assert run("caption", "set", address, "looking right").strip() == f"{address}: looking right"
    listed = document("caption", "list", "mara", schema="assetforge/caption-list/1")["captions"]
    assert {one["caption"] for one in listed} == {"", "looking left", "looking right"}
    assert len(document("caption", "list", address, schema="assetforge/caption-history/1")["captions"]) == 1
    shown = document("ref", "show", address, schema="assetforge/ref-show/1")
    assert Path(shown["thumbnail"]).is_file()
    assert address in run("ref", "show", address)
    frozen = document("dataset", "freeze", "mara", "--held-out", 2, schema="assetforge/dataset-freeze/1")["dataset"]
    assert (frozen["address"], frozen["held_out_count"]) == ("mara/d1", 2)
    assert "nothing changed" in run("dataset", "freeze", "mara")
    run("ref", "exclude", address, "--why", "out of focus")
    assert "mara/d2" in run("dataset", "freeze", "mara")
    changes = document("dataset", "diff", "mara", schema="assetforge/dataset-diff/1")
    assert (changes["older"], changes["diff"]["removed"]) == ("mara/d1", [shown["reference"]["sha256"]])
    assert "1 removed" in run("dataset", "diff", "mara/d2", "mara/d1") or "1 added" in run("dataset", "diff", "mara/d2")
    assert len(document("dataset", "list", "mara", schema="assetforge/dataset-list/1")["datasets"]) == 2
    assert len(document("dataset", "show", "mara/d1", schema="assetforge/dataset-show/1")["items"]) == 8
    exported = document(
        "dataset", "export", "mara", tmp_path / "out", "--to", "imagefolder", schema="assetforge/dataset-export/1"
    )
    assert exported["export"]["pictures"] == 7
    run("dataset", "export", "mara", tmp_path / "out", code=2)
    excluded = document("ref", "list", "mara", "--state", "excluded", schema="assetforge/ref-list/1")
    assert [one["address"] for one in excluded["references"]] == [address]
    assert "is active" in run("ref", "restore", address)


def test_crop_repeats_and_split_by_hand(
    inbox: Path, make_png: MakePng, run: Run, document: Callable[..., dict[str, Any]]
) -> None:
    for seed in range(8):
        make_png(inbox / f"{seed}.png", seed=seed)
    run("ref", "add", "mara")
    run("dataset", "freeze", "mara")
    listed = document("ref", "list", "mara", schema="assetforge/ref-list/1")["references"]
    first, second = [one for one in listed if one["split"] == "train"][:2]
    words = ("ref", "set", first["address"], f"mara/ref/{second['sha256'][:9]}", "--crop", "8,4,40,28", "--repeats", 5)
    changed = document(*words, schema="assetforge/ref-set/1")["references"]
    assert [(one["sha256"], one["crop"], one["repeats"]) for one in changed] == [
        (first["sha256"], "8,4,40,28", 5),
        (second["sha256"], "8,4,40,28", 5),
    ]
    assert run("ref", "list", "mara").count("8,4,40,28") == 2
    assert "8,4,40,28" in run("ref", "show", first["address"])
    assert "held_out" in run("ref", "set", first["address"], "--split", "held-out")
    run("dataset", "freeze", "mara")
    shown = run("dataset", "diff", "mara")
    assert (shown.count("crop "), shown.count("repeats "), shown.count("split ")) == (2, 2, 1)
    undone = ("ref", "set", first["address"], second["address"], "--crop", "none", "--repeats", 1, "--split", "auto")
    assert "8,4" not in run(*undone)
    run("ref", "set", first["address"], "--crop", "0,0,65,48", code=2)
    run("ref", "set", first["address"], "--repeats", 0, code=2)
    run("ref", "set", first["address"], "--split", "validation", code=2)
    run("ref", "set", first["address"], code=2)
    run("ref", "set", "--repeats", 2, code=2)
    run("ref", "set", "mara/ref/123456", "--repeats", 2, code=3)


def test_exit_codes(inbox: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "empty.jpg").write_bytes(b"")
    run("ref", "add", "mara", tmp_path / "empty.jpg", code=1)
    run("ref", "add", "nobody", tmp_path, code=3)
    run("ref", "show", "mara/ref/123456", code=3)
    run("ref", "show", "mara", code=2)
    run("dataset", "freeze", "mara", code=2)
    run("dataset", "show", "mara", code=3)
