"""Captions in bulk: shown first, changed as a whole, undone as a whole, also after a restart."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlmodel import col, select

from assetforge.actor import acting_as
from assetforge.db.models import Activity, CaptionEdit
from assetforge.domain.captions import AddTag, PlaceTrigger, Replace, TakeTriggerOut
from assetforge.errors import NotFoundError, UsageError
from assetforge.services import caption_edits
from assetforge.services.assets import add_asset
from assetforge.services.caption_edits import edit_captions
from assetforge.services.caption_undo import caption_changes, redo_captions, undo_captions
from assetforge.services.caption_words import caption_tags, caption_words, token_counter
from assetforge.services.captions import caption_history, set_caption
from assetforge.services.ingest import add_references
from assetforge.services.projects import Project, open_project
from assetforge.services.references import exclude_reference, list_references

CAPTIONS = ("a man in the rain", "a man, night", "mrvale woman, fog, night", "")


@pytest.fixture
def film(project: Project, make_png: Callable[..., Path], tmp_path: Path) -> Project:
    add_asset(project, "mara", "character", trigger="mrvale", class_word="woman")
    add_asset(project, "ilse", "character")
    for seed, caption in enumerate(CAPTIONS):
        make_png(tmp_path / "pictures" / f"{seed}.png", seed=seed).with_suffix(".txt").write_text(caption)
    add_references(project, "mara", [tmp_path / "pictures"])
    add_references(project, "ilse", [tmp_path / "pictures" / "0.png"])
    return project


def captions(film: Project, asset: str = "mara") -> dict[str, str]:
    return {one.file_name: one.caption for one in list_references(film, asset, state="").items}


def address(film: Project, name: str, asset: str = "mara") -> str:
    return next(one.address for one in list_references(film, asset, state="").items if one.file_name == name)


def records(film: Project, verb: str) -> list[Activity]:
    with film.read() as session:
        return list(session.exec(select(Activity).where(Activity.verb == verb).order_by(col(Activity.id))))


def test_a_look_first_writes_nothing(film: Project) -> None:
    before = captions(film)
    seen = edit_captions(film, "mara", Replace(find="man", replacement="woman", mode="words"), dry_run=True)
    assert (seen.looked_at, seen.change) == (4, None)
    assert {(one.file_name, one.before, one.after) for one in seen.pairs} == {
        ("0.png", "a man in the rain", "a woman in the rain"),
        ("1.png", "a man, night", "a woman, night"),
    }
    assert captions(film) == before
    assert caption_changes(film, "mara") == []


def test_a_bulk_change_is_one_record_and_undone_as_a_whole_after_a_restart(film: Project) -> None:
    before = captions(film)
    with acting_as("mia"):
        done = edit_captions(film, "mara", Replace(find="man", replacement="woman", mode="words"))
    (noted,) = records(film, "recaptioned")
    assert (noted.id, noted.actor, noted.subject, noted.detail["count"]) == (done.change, "mia", "mara", 2)
    assert captions(film)["1.png"] == "a woman, night"
    assert captions(film, "ilse") == {"0.png": "a man in the rain"}
    assert caption_history(film, address(film, "1.png"))[0].source == "hand"
    root = film.root
    film.close()
    with open_project(root) as again:
        (change,) = caption_changes(again, "mara")
        assert (change.id, change.count, change.by, change.undone) == (done.change, 2, "mia", False)
        assert change.what == "“man” to “woman” (whole words)"
        undone = undo_captions(again, "mara")
        assert (undone.change.id, undone.change.undone, len(undone.pairs), undone.kept) == (done.change, True, 2, ())
        assert captions(again) == before
        assert caption_history(again, address(again, "1.png"))[0].source == "sidecar"
        assert [one.undone for one in caption_changes(again, "mara")] == [True]
        with pytest.raises(UsageError, match="no change of mara's captions to undo"):
            undo_captions(again, "mara")
        redo_captions(again, "mara")
        assert captions(again)["1.png"] == "a woman, night"
        with pytest.raises(UsageError, match="to redo"):
            redo_captions(again, "mara")
        assert len(records(again, "undid")) == len(records(again, "redid")) == 1


def test_undo_and_redo_go_back_and_forth_through_several_changes(film: Project) -> None:
    states = [captions(film)]
    for change in (AddTag("one"), AddTag("two"), AddTag("three")):
        edit_captions(film, "mara", change)
        states.append(captions(film))
    for number in (2, 1, 0):
        undo_captions(film, "mara")
        assert captions(film) == states[number]
    for number in (1, 2):
        redo_captions(film, "mara")
        assert captions(film) == states[number]
    undo_captions(film, "mara")
    assert captions(film) == states[1]
    edit_captions(film, "mara", AddTag("other"))
    with pytest.raises(UsageError, match="to redo"):
        redo_captions(film, "mara")
    undo_captions(film, "mara")
    undo_captions(film, "mara")
    assert captions(film) == states[0]


def test_captions_that_were_changed_since_keep_what_they_say(film: Project) -> None:
    first = edit_captions(film, "mara", AddTag("dusk"))
    by_hand = address(film, "0.png")
    set_caption(film, by_hand, "on a ladder")
    seen = undo_captions(film, "mara", first.change, dry_run=True)
    assert (len(seen.pairs), seen.kept) == (3, (by_hand,))
    undo_captions(film, "mara", first.change)
    assert captions(film) == {"0.png": "on a ladder", "1.png": CAPTIONS[1], "2.png": CAPTIONS[2], "3.png": ""}
    with pytest.raises(UsageError, match="undone already"):
        undo_captions(film, "mara", first.change)
    with pytest.raises(NotFoundError, match="no change 999"):
        undo_captions(film, "mara", 999)
    # What one caption was set to by hand is a change like the others.
    assert caption_changes(film, "mara")[0].what == f"caption of {by_hand}"
    undo_captions(film, "mara")
    assert captions(film)["0.png"] == "a man in the rain, dusk"


def test_some_references_only_also_excluded_ones(film: Project) -> None:
    out = address(film, "1.png")
    exclude_reference(film, out, "another actor")
    done = edit_captions(film, "mara", AddTag("dusk"))
    assert (done.looked_at, captions(film)["1.png"]) == (3, "a man, night")
    done = edit_captions(film, "mara", AddTag("dawn"), addresses=[out, out])
    assert (done.looked_at, [one.address for one in done.pairs]) == (1, [out])
    with pytest.raises(UsageError, match="no reference of mara"):
        edit_captions(film, "mara", AddTag("dawn"), addresses=[address(film, "0.png", "ilse")])
    with pytest.raises(NotFoundError):
        edit_captions(film, "nobody", AddTag("dawn"))


def test_what_changes_nothing_is_no_change(film: Project) -> None:
    done = edit_captions(film, "mara", Replace(find="elephant", replacement="x"))
    assert (done.pairs, done.change) == ((), None)
    assert records(film, "recaptioned") == []


def test_regular_expressions_and_what_they_may_not(film: Project) -> None:
    edit_captions(film, "mara", Replace(find=r"^a (man)\b", replacement=r"the \1", mode="regex"))
    assert captions(film)["0.png"] == "the man in the rain"
    with pytest.raises(UsageError, match="regular expression cannot be used"):
        edit_captions(film, "mara", Replace(find="(", mode="regex"), dry_run=True)
    with pytest.raises(UsageError, match=r"characters long, and 10,000"):
        edit_captions(film, "mara", Replace(find="a", replacement="b" * 9_999))
    edit_captions(film, "mara", Replace(find="man", replacement="two\n\x1b[31mlines", mode="text"))
    assert captions(film)["0.png"] == "the two [31mlines in the rain"


def test_the_trigger_stands_where_it_is_said_to(film: Project) -> None:
    words = caption_words(film, "mara")
    trained = {one.caption: one.trained for one in words.captions}
    assert trained["mrvale woman, fog, night"] == "mrvale woman, fog, night"
    assert trained[""] == "mrvale woman"
    assert (sum(one.says_trigger for one in words.captions), words.missing) == (1, 1)
    edit_captions(film, "mara", TakeTriggerOut())
    assert captions(film)["2.png"] == "fog, night"
    edit_captions(film, "mara", PlaceTrigger("a man"))
    assert captions(film)["0.png"] == "mrvale woman in the rain"


def test_tags_of_active_references(film: Project) -> None:
    assert [(one.tag, one.count) for one in caption_tags(film, "mara")][:2] == [("night", 2), ("a man", 1)]


def test_somebody_else_writes_meanwhile(film: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was computed on captions that are not there any more is computed again."""
    real, times = caption_edits._changed, []

    def slow(targets, change, row):  # type: ignore[no-untyped-def]
        times.append(len(times))
        if len(times) == 1:
            writer = threading.Thread(target=set_caption, args=(film, address(film, "0.png"), "a man on a ladder"))
            writer.start()
            writer.join()
        return real(targets, change, row)

    monkeypatch.setattr(caption_edits, "_changed", slow)
    edit_captions(film, "mara", Replace(find="a man", replacement="a woman"))
    assert captions(film)["0.png"] == "a woman on a ladder"
    assert len(times) == 2


def test_the_newest_entry_of_the_history_is_the_caption(film: Project) -> None:
    edit_captions(film, "mara", AddTag("dusk"))
    undo_captions(film, "mara")
    redo_captions(film, "mara")
    for one in list_references(film, "mara").items:
        assert caption_history(film, one.address)[0].text == one.caption
    with film.read() as session:
        edits = session.exec(select(CaptionEdit.id).order_by(col(CaptionEdit.id))).all()
    assert list(edits) == list(range(edits[0], edits[0] + len(edits)))


def test_tokens_are_exact_with_a_base_at_hand_and_estimated_without(film: Project, tmp_path: Path) -> None:
    toybox = pytest.importorskip("assetforge_toybox")
    base = Path(toybox.__file__).parent / "data" / "base"
    counter = token_counter(film, "mara", base=str(base))
    assert (counter.exact, counter.limit) == (True, 46)
    assert counter.count("") > 0
    missing = token_counter(film, "mara", base=str(tmp_path / "nothing"))
    assert (missing.exact, missing.limit) == (False, 75)
    assert "Estimated" in missing.says
    other = tmp_path / "base" / "tokenizer"
    other.mkdir(parents=True)
    (other / "tokenizer_config.json").write_text('{"tokenizer_class": "Qwen2Tokenizer"}')
    (other / "merges.txt").write_text("#version: 0.2\na b\n")
    foreign = token_counter(film, "mara", base=str(tmp_path / "base"))
    assert (foreign.exact, foreign.limit) == (False, None)
    (other / "tokenizer_config.json").write_text("not json")
    clip = token_counter(film, "mara", base=str(tmp_path / "base"))
    assert (clip.exact, clip.limit) == (True, 75)
    (tmp_path / "base" / "tokenizer_2").mkdir()
    (tmp_path / "base" / "tokenizer_2" / "tokenizer_config.json").write_text('{"tokenizer_class": "T5TokenizerFast"}')
    assert token_counter(film, "mara", base=str(tmp_path / "base")).limit is None
