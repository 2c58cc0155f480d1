"""What a freeze would make, and what changed between any two versions, picture by picture."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from assetforge.cli.app import run as commands
from assetforge.errors import NotFoundError, UsageError
from assetforge.services.assets import add_asset
from assetforge.services.captions import set_caption
from assetforge.services.dataset_pictures import picture_diff, unfrozen_changes
from assetforge.services.datasets import freeze, plan_freeze
from assetforge.services.ingest import add_references
from assetforge.services.projects import Project
from assetforge.services.reference_settings import set_references
from assetforge.services.references import exclude_reference, list_references


@pytest.fixture
def film(project: Project, make_png: Callable[..., Path], tmp_path: Path) -> Project:
    add_asset(project, "mara", "character")
    add_asset(project, "empty", "character")
    for seed in range(9):
        make_png(tmp_path / "pictures" / f"{seed}.png", seed=seed)
    add_references(project, "mara", [tmp_path / "pictures"])
    return project


def test_a_plan_is_what_the_freeze_then_makes_and_changes_nothing(film: Project) -> None:
    with pytest.raises(UsageError, match="no active reference"):
        plan_freeze(film, "empty")
    plan = plan_freeze(film, "mara", held_out=3)
    assert (plan.address, plan.is_new, plan.train_count, plan.held_out_count) == ("mara/d1", True, 6, 3)
    assert {one.split for one in list_references(film, "mara").items} == {""}
    frozen = freeze(film, "mara", held_out=3)
    assert (frozen.address, frozen.tree_hash, frozen.remarks) == (plan.address, plan.tree_hash, plan.remarks)
    again = plan_freeze(film, "mara")
    assert (again.address, again.is_new) == ("mara/d1", False)
    with pytest.raises(UsageError, match="cannot be held out"):
        plan_freeze(film, "mara", held_out=-1)


def test_any_two_versions_and_the_references_as_they_are(
    film: Project, make_png: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    everything = unfrozen_changes(film, "mara")
    assert (everything.older, everything.newer, everything.frozen, everything.sentence) == (
        "",
        "mara/d1",
        False,
        "9 added",
    )
    freeze(film, "mara")
    assert unfrozen_changes(film, "mara").pictures == ()
    train = [one for one in list_references(film, "mara").items if one.split == "train"]
    set_caption(film, train[0].address, "in the [rain]")
    set_references(film, [train[0].address], crop="0,0,32,32", repeats=2)
    freeze(film, "mara")
    exclude_reference(film, train[1].address, "blurred")
    add_references(film, "mara", [make_png(tmp_path / "new.png", seed=77)])
    pending = unfrozen_changes(film, "mara")
    assert (pending.newer, pending.older, pending.sentence, pending.same) == (
        "mara/d3",
        "mara/d2",
        "1 added, 1 removed",
        8,
    )
    freeze(film, "mara")

    diff = picture_diff(film, "mara/d3", "mara/d1")
    assert (diff.newer, diff.older, diff.sentence, diff.same) == (
        "mara/d3",
        "mara/d1",
        "1 added, 1 removed, 1 changed",
        7,
    )
    added, removed, changed = diff.pictures
    assert (added.file_name, added.before, added.after.split, added.width) == ("new.png", None, "train", 64)
    assert (removed.address, removed.after, removed.before.caption) == (train[1].address, None, "")
    assert (changed.sha256, changed.what) == (train[0].sha256, ("caption", "crop", "repeats"))
    assert (changed.before.caption, changed.after.caption) == ("", "in the [rain]")
    backwards = picture_diff(film, "mara/d1", "mara/d3")
    assert backwards.sentence == "1 added, 1 removed, 1 changed"
    assert picture_diff(film, "mara").older == "mara/d2"
    assert picture_diff(film, "mara/d1").sentence == "9 added"
    with pytest.raises(NotFoundError):
        picture_diff(film, "mara/d9")

    exclude_reference(film, train[2].address, "blurred too")
    assert commands(["dataset", "diff", "mara", "--now", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["newer"]) == ("assetforge/dataset-unfrozen/1", "mara/d4")
    assert [(one["kind"], one["address"]) for one in document["pictures"]] == [("removed", train[2].address)]
    assert commands(["dataset", "diff", "mara", "mara/d1", "--now"]) == 0
    assert "mara/d1 -> now: 1 added, 2 removed, 1 changed." in capsys.readouterr().out
