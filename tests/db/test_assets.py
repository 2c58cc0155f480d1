import pytest
from sqlmodel import select

from assetforge.db.models import Activity
from assetforge.errors import NotFoundError, UsageError
from assetforge.services.activity import current_actor
from assetforge.services.assets import add_asset, get_asset, list_assets, set_asset


def test_add_makes_the_inbox_and_notes_who(project, monkeypatch):
    monkeypatch.setenv("ASSETFORGE_ACTOR", "ida")
    added = add_asset(project, "brass-lamp", "prop")
    assert (added.trigger, added.type) == ("brasslamp", "prop")
    assert added.class_word
    assert added.references == project.root / "props" / "brass-lamp" / "references"
    assert added.references.is_dir()
    assert get_asset(project, "brass-lamp") == added
    with project.read() as session:
        assert [(row.actor, row.verb, row.subject) for row in session.exec(select(Activity))] == [
            ("ida", "added", "brass-lamp")
        ]


def test_refused_assets_leave_nothing(project):
    add_asset(project, "mara", "character", trigger="mra", class_word="woman")
    for arguments, error in (
        (("mara", "prop"), UsageError),
        (("Mara 2", "prop"), UsageError),
        (("lamp", "charakter"), NotFoundError),
    ):
        with pytest.raises(error):
            add_asset(project, *arguments)
    for trigger in ("a,b", "{x}", "<lora:x:1>", "a\nb", "\x1b[0m"):
        with pytest.raises(UsageError, match="trigger"):
            add_asset(project, "lamp", "prop", trigger=trigger)
    assert [asset.name for asset in list_assets(project)] == ["mara"]
    assert not (project.root / "props").exists()


def test_unknown_names_come_with_close_ones(project):
    add_asset(project, "mara", "character")
    with pytest.raises(NotFoundError, match="Did you mean 'mara'"):
        get_asset(project, "marra")


def test_set_changes_only_what_is_given(project):
    add_asset(project, "mara", "character", description="the captain", settings={"a": 1, "b": 2})
    changed = set_asset(project, "mara", trigger="mra", recipe="character-sd15", settings={"b": None, "c": 3})
    assert (changed.trigger, changed.recipe, changed.description) == ("mra", "character-sd15", "the captain")
    assert get_asset(project, "mara").settings == {"a": 1, "c": 3}
    with pytest.raises(UsageError, match="Nothing was given"):
        set_asset(project, "mara")
    with pytest.raises(UsageError, match="cannot be empty"):
        set_asset(project, "mara", trigger="")


def test_archived_assets_are_kept_aside(project):
    add_asset(project, "mara", "character")
    set_asset(project, "mara", archived=True)
    assert list_assets(project) == []
    assert [asset.archived for asset in list_assets(project, archived=True)] == [True]
    set_asset(project, "mara", archived=False)
    assert [asset.name for asset in list_assets(project, type="character")] == ["mara"]


def test_the_actor_is_always_somebody(monkeypatch):
    monkeypatch.delenv("ASSETFORGE_ACTOR", raising=False)
    assert current_actor()
