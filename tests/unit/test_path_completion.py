"""The rest of a path while somebody types it."""

from pathlib import Path

import pytest

from assetforge.services.path_completion import complete_path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("stills/day 1", "stills/day 2", "stills/.hidden", "store"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("stills/a.png", "stills/day.JPG", "stills/notes.txt", "still.png"):
        (tmp_path / name).touch()
    return tmp_path


def test_folders_come_before_pictures_and_other_files_never(tree: Path) -> None:
    assert complete_path(f"{tree}/st") == f"{tree}/stills/"
    assert complete_path(f"  {tree}/sto") == f"{tree}/store/"
    assert complete_path(f"{tree}/stills/d") == f"{tree}/stills/day 1/"
    assert complete_path(f"{tree}/stills/day.") == f"{tree}/stills/day.JPG"
    assert complete_path(f"{tree}/stills/day.", files=False) == ""
    assert complete_path(f"{tree}/stills/n") == ""
    assert complete_path(f"{tree}/stills/") == f"{tree}/stills/day 1/"
    assert complete_path(f"{tree}/stills/.h") == f"{tree}/stills/.hidden/"


@pytest.mark.parametrize("text", ["", "~", "~nobody-of-that-name/x", "/no/such/folder/x", "\0/x", "a\0b"])
def test_what_leads_nowhere_offers_nothing(text: str) -> None:
    assert complete_path(text) == ""


def test_home_and_here(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tree))
    monkeypatch.chdir(tree)
    assert complete_path("~/sti") == "~/stills/"
    assert complete_path("sti") == "stills/"
