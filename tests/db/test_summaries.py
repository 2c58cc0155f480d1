"""What is shown beside a picture, by the service and on the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from assetforge.cli.app import run as commands
from assetforge.errors import NotFoundError
from assetforge.services.assets import add_asset
from assetforge.services.captions import set_caption
from assetforge.services.datasets import freeze
from assetforge.services.ingest import add_references
from assetforge.services.projects import Project
from assetforge.services.reference_settings import set_references
from assetforge.services.references import exclude_reference, list_references
from assetforge.services.summaries import summarise_asset, summarise_reference


@pytest.fixture
def film(project: Project, make_png: Callable[..., Path], tmp_path: Path) -> Project:
    add_asset(project, "mara", "character", trigger="mrvale", class_word="woman")
    for seed in range(9):
        make_png(tmp_path / "pictures" / f"{seed}.png", seed=seed)
    make_png(tmp_path / "pictures" / "twin.png", seed=3, size=(66, 50))
    add_references(project, "mara", [tmp_path / "pictures"])
    freeze(project, "mara")
    return project


def test_a_reference_with_all_around_it(film: Project, capsys: pytest.CaptureFixture[str]) -> None:
    found = {one.file_name: one for one in list_references(film, "mara").items}
    seen = summarise_reference(film, found["3.png"].address)
    assert seen.alike == (found["twin.png"].address,)
    assert seen.findings == ("smaller than 512 px", "much like another one", "no caption", "no rights")
    assert (seen.datasets, seen.trained) == (("mara/d1",), "mrvale woman")
    other = found["0.png"].address
    set_caption(film, other, "in the [rain]")
    set_references(film, [other], rights="own")
    freeze(film, "mara")
    seen = summarise_reference(film, other)
    assert seen.findings == ("smaller than 512 px",)
    assert (seen.alike, seen.datasets, seen.trained) == ((), ("mara/d2", "mara/d1"), "mrvale woman, in the [rain]")
    assert seen.tokens > 5
    with pytest.raises(NotFoundError):
        summarise_reference(film, "mara/ref/000000000000")
    assert commands(["ref", "show", other]) == 0
    shown = capsys.readouterr().out
    assert "mrvale woman, in the [rain] (" in shown
    assert "smaller than 512 px" in shown
    assert commands(["ref", "show", other, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["datasets"], document["reference"]["rights"]) == (["mara/d2", "mara/d1"], "own")
    assert document["captions"][0]["text"] == "in the [rain]"


def test_an_asset_at_a_glance(film: Project, capsys: pytest.CaptureFixture[str]) -> None:
    exclude_reference(
        film, next(one.address for one in list_references(film, "mara").items if one.split == "train"), "blurred"
    )
    seen = summarise_asset(film, "mara")
    assert (seen.active, seen.excluded, seen.held_out, seen.without_caption, seen.without_rights) == (9, 1, 2, 9, 9)
    assert (seen.dataset, seen.versions, seen.latest, seen.approved) == ("mara/d1", 0, "", "")
    assert seen.changed_at is not None
    add_asset(film, "new", "prop")
    assert summarise_asset(film, "new").active == 0
    with pytest.raises(NotFoundError):
        summarise_asset(film, "nobody")
    assert commands(["asset", "show", "mara"]) == 0
    assert "9, 2 held out, 1 excluded, 9 without caption, 9 without rights" in capsys.readouterr().out
    assert commands(["asset", "show", "mara", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["summary"]["dataset"] == "mara/d1"
