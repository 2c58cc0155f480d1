"""``caption replace|prefix|tag|tags|trigger|tokens|history|undo|redo`` as a user or a script calls them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assetforge.cli.app import run as commands
from assetforge.services.assets import add_asset
from assetforge.services.ingest import add_references
from assetforge.services.projects import Project
from assetforge.services.references import list_references

Run = Callable[..., str]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: object, code: int = 0) -> str:
        capsys.readouterr()
        assert commands([str(word) for word in words]) == code
        return capsys.readouterr().out

    return call


@pytest.fixture
def document(run: Run) -> Callable[..., dict[str, Any]]:
    def call(*words: object, schema: str) -> dict[str, Any]:
        result: dict[str, Any] = json.loads(run(*words, "--json"))
        assert result["schema"] == f"assetforge/{schema}/1"
        return result

    return call


@pytest.fixture
def film(project: Project, make_png: Callable[..., Path], tmp_path: Path) -> Project:
    add_asset(project, "mara", "character", trigger="mrvale", class_word="woman")
    for seed, caption in enumerate(("a man in the rain", "a man [b], night", "mrvale woman, fog")):
        make_png(tmp_path / "pictures" / f"{seed}.png", seed=seed).with_suffix(".txt").write_text(caption)
    add_references(project, "mara", [tmp_path / "pictures"])
    return project


def test_look_change_and_take_back(film: Project, run: Run, document: Callable[..., dict[str, Any]]) -> None:
    seen = document("caption", "replace", "mara", "man", "woman", "--words", "--dry-run", schema="caption-replace")
    assert (seen["looked_at"], len(seen["captions"]), seen["change"], seen["dry_run"]) == (3, 2, None, True)
    # Nobody can be asked here.
    assert run("caption", "replace", "mara", "man", "woman", code=2) == ""
    shown = run("caption", "replace", "mara", "man", "woman", "--words", "--yes")
    assert "2 of 3 captions changed" in shown
    assert "a woman [b], night" in shown
    run("caption", "prefix", "mara", "film still,", "--yes")
    run("caption", "prefix", "mara", ", 35mm", "--at-end", "--yes")
    run("caption", "tag", "mara", "fog", "--remove", "--yes")
    run("caption", "tag", "mara", "dusk", "--first", "--yes")
    assert {one.caption for one in list_references(film, "mara").items} == {
        "dusk, film still, a woman in the rain, 35mm",
        "dusk, film still, a woman [b], night, 35mm",
        "dusk, film still, mrvale woman, 35mm",
    }
    found = document("caption", "history", "mara", schema="caption-changes")["changes"]
    assert [one["count"] for one in found] == [3, 1, 3, 3, 2]
    assert document("caption", "undo", "mara", "--dry-run", schema="caption-undo")["change"]["id"] == found[0]["id"]
    run("caption", "undo", "mara", code=2)
    undone = document("caption", "undo", "mara", "--change", found[-1]["id"], "--yes", schema="caption-undo")
    assert (undone["captions"], len(undone["kept"])) == ([], 2)
    for _ in range(4):
        run("caption", "undo", "mara", "--yes")
    assert "undone" in run("caption", "history", "mara")
    assert "a woman [b], night" in {one.caption for one in list_references(film, "mara").items}
    assert len(document("caption", "redo", "mara", schema="caption-redo")["captions"]) == 3
    run("caption", "undo", "nobody", "--yes", code=3)


def test_one_reference_and_regular_expressions(film: Project, run: Run) -> None:
    address = next(one.address for one in list_references(film, "mara").items if one.file_name == "0.png")
    words = ("caption", "replace", "mara", r"a (\w+)", r"the \1", "--regex")
    assert "1 of 1 captions would change" in run(*words, "--only", address, "--dry-run")
    run(*words, "--only", address, "--yes")
    run(*words, "--words", code=2)
    run("caption", "replace", "mara", "(", "", "--regex", code=2)
    run("caption", "replace", "mara", "", "x", code=2)
    assert "0 of 3 captions changed" in run("caption", "replace", "mara", "elephant", "x")


def test_tags_tokens_and_the_trigger(film: Project, run: Run, document: Callable[..., dict[str, Any]]) -> None:
    tags = document("caption", "tags", "mara", schema="caption-tags")
    assert (tags["total"], tags["tags"][0]) == (5, {"tag": "a man [b]", "count": 1})
    assert "a man [b]" in run("caption", "tags", "mara")
    tokens = document("caption", "tokens", "mara", "--limit", 1, schema="caption-tokens")
    assert (len(tokens["captions"]), tokens["too_long"], tokens["missing"]) == (1, 0, 0)
    assert tokens["captions"][0]["tokens"] > 5
    assert "trained on" in run("caption", "tokens", "mara")
    shown = document("caption", "trigger", "mara", schema="caption-trigger")
    assert (shown["trigger"], shown["in_front"], shown["in_caption"]) == ("mrvale", 2, 1)
    assert "mrvale stands in front of 2 captions" in run("caption", "trigger", "mara")
    run("caption", "trigger", "mara", "--remove", "--yes")
    run("caption", "trigger", "mara", "--instead-of", "a man", "--yes")
    assert {one.caption for one in list_references(film, "mara").items} == {
        "mrvale woman in the rain",
        "mrvale woman [b], night",
        "fog",
    }
    run("caption", "trigger", "mara", "--remove", "--instead-of", "x", code=2)
