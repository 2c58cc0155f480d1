"""What happens to files of a watched folder happens to the references of its asset, and nothing else."""

import os
import shutil
import sqlite3
import threading
import time
from contextlib import closing

import pytest
from PIL import Image as Pillow
from sqlmodel import select

from assetforge.db.models import Activity, Reference
from assetforge.errors import BusyError, ConfigError
from assetforge.services import quarantine
from assetforge.services.assets import add_asset
from assetforge.services.captions import set_caption
from assetforge.services.datasets import freeze
from assetforge.services.project_config import set_value
from assetforge.services.reference_settings import set_references
from assetforge.services.references import exclude_reference, list_references
from assetforge.services.watch_records import list_health, watched_folders
from assetforge.watch.watcher import Watcher


@pytest.fixture
def inbox(project):
    set_value(project.paths.config, "watch.settle_seconds", 0.1)
    return add_asset(project, "mara", "character").references


@pytest.fixture
def look(project):
    """A function that looks until everything has settled and was dealt with."""
    return lambda: Watcher(project).once(60.0)


def states(project, asset="mara"):
    return {one.file_name: one.state for one in list_references(project, asset, state="", limit=500).items}


def only(project, asset="mara", state="active"):
    (one,) = list_references(project, asset, state=state).items
    return one


def test_new_pictures_become_references_with_their_captions_and_masks(project, inbox, look, make_png):
    make_png(inbox / "deep" / "[a]\n b.png", 1)
    (inbox / "deep" / "[a]\n b.txt").write_text("a robot in rain")
    Pillow.new("L", (64, 48), 255).save(inbox / "deep" / "[a]\n b.mask.png")
    (inbox / "notes.md").write_text("not for us")
    look()
    reference = only(project)
    assert reference.caption == "a robot in rain"
    assert reference.mask
    assert reference.origin == "characters/mara/references"
    assert quarantine.list_quarantine(project) == []


def test_the_same_folder_again_changes_nothing(project, inbox, look, make_png):
    for seed in range(5):
        make_png(inbox / f"{seed}.png", seed)
    look()
    before = list_references(project, "mara").items
    look()
    assert list_references(project, "mara").items == before
    with project.read() as session:
        told = session.exec(select(Activity).where(Activity.verb == "added references")).all()
    assert sum(one.detail["added"] for one in told) == 5


def test_a_renamed_or_moved_picture_is_the_reference_it_was(project, inbox, look, make_png):
    make_png(inbox / "a.png", 1)
    look()
    before = only(project)
    (inbox / "day 2").mkdir()
    (inbox / "a.png").rename(inbox / "day 2" / "b.png")
    look()
    assert only(project) == before
    with project.read() as session:
        assert session.exec(select(Activity).where(Activity.verb == "excluded")).all() == []


def test_a_name_that_changes_its_case_alone_loses_nothing(project, inbox, look, make_png):
    make_png(inbox / "Frame.png", 1)
    look()
    (inbox / "Frame.png").rename(inbox / "frame.PNG")
    look()
    assert only(project).state == "active"


def test_a_copy_is_no_second_reference_and_keeps_the_first_alive(project, inbox, look, make_png):
    make_png(inbox / "a.png", 1)
    look()
    shutil.copy(inbox / "a.png", inbox / "copy.png")
    look()
    (inbox / "a.png").unlink()
    look()
    assert only(project).state == "active"


def test_a_picture_replaced_in_place_hands_on_what_was_said_about_it(project, inbox, look, make_png):
    make_png(inbox / "a.png", 1)
    look()
    old = only(project)
    set_caption(project, old.address, "by hand")
    set_references(project, [old.address], rights="cleared", repeats=3)
    make_png(inbox / "a.png", 2)
    look()
    new = only(project)
    assert new.sha256 != old.sha256
    assert (new.caption, new.rights, new.repeats) == ("by hand", "cleared", 3)
    aside = only(project, state="excluded")
    assert aside.sha256 == old.sha256
    assert new.address in aside.excluded_reason


def test_a_replacement_of_the_same_size_and_date_is_seen(project, inbox, look):
    pixels = Pillow.new("RGB", (64, 64), (10, 20, 30))
    pixels.save(inbox / "a.bmp")
    look()
    status = (inbox / "a.bmp").stat()
    Pillow.new("RGB", (64, 64), (200, 20, 30)).save(inbox / "a.bmp")
    os.utime(inbox / "a.bmp", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (inbox / "a.bmp").stat().st_size == status.st_size
    look()
    assert len(states(project)) == 1 or sorted(
        one.state for one in list_references(project, "mara", state="").items
    ) == ["active", "excluded"]
    assert only(project).excluded_reason == ""
    assert only(project, state="excluded")


def test_a_deleted_picture_is_put_aside_and_comes_back_with_its_file(project, inbox, look, make_png):
    make_png(inbox / "a.png", 1)
    make_png(inbox / "b.png", 2)
    look()
    frozen = freeze(project, "mara")
    kept = (inbox / "a.png").read_bytes()
    (inbox / "a.png").unlink()
    look()
    assert states(project) == {"a.png": "excluded", "b.png": "active"}
    assert "removed" in only(project, state="excluded").excluded_reason
    assert frozen.train_count + frozen.held_out_count == 2
    (inbox / "back.png").write_bytes(kept)
    look()
    assert states(project) == {"a.png": "active", "b.png": "active"}


def test_what_a_person_excluded_stays_excluded_when_its_file_comes_back(project, inbox, look, make_png):
    make_png(inbox / "a.png", 1)
    look()
    address = only(project).address
    exclude_reference(project, address, "wrong hair")
    kept = (inbox / "a.png").read_bytes()
    (inbox / "a.png").unlink()
    look()
    (inbox / "a.png").write_bytes(kept)
    look()
    assert only(project, state="excluded").excluded_reason == "wrong hair"


def test_a_picture_that_moves_to_another_asset_keeps_its_caption_and_rights(project, inbox, look, make_png):
    other = add_asset(project, "ilse", "character").references
    make_png(inbox / "a.png", 1)
    look()
    set_caption(project, only(project).address, "in the rain")
    set_references(project, [only(project).address], rights="cleared")
    (inbox / "a.png").rename(other / "a.png")
    look()
    assert states(project) == {"a.png": "excluded"}
    moved = only(project, "ilse")
    assert (moved.caption, moved.rights) == ("in the rain", "cleared")


def test_a_caption_alone_is_a_change_even_after_a_restart(project, inbox, look, make_png):
    make_png(inbox / "a.png", 1)
    (inbox / "a.txt").write_text("one")
    look()
    (inbox / "a.txt").write_text("another")
    look()
    assert only(project).caption == "another"


def test_a_folder_that_goes_away_is_an_outage_and_no_deletion(project, inbox, look, make_png):
    make_png(inbox / "a.png", 1)
    look()
    away = inbox.with_name("elsewhere")
    inbox.rename(away)
    look()
    (health,) = list_health(project)
    assert (health.state, only(project).state) == ("lost", "active")
    assert "away" in health.problem
    inbox.mkdir()
    look()
    (health,) = list_health(project)
    assert health.state == "lost", "an empty folder of the same name is what lies below a share that is not mounted"
    assert only(project).state == "active"
    inbox.rmdir()
    away.rename(inbox)
    look()
    (health,) = list_health(project)
    assert (health.state, health.problem, only(project).state) == ("ok", "", "active")


def test_a_subfolder_that_cannot_be_read_is_a_problem_and_no_deletion(project, inbox, look, make_png, monkeypatch):
    make_png(inbox / "locked" / "a.png", 1)
    make_png(inbox / "open" / "b.png", 2)
    look()
    real = os.scandir

    def refusing(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr("assetforge.store.tree.os.scandir", refusing)
    look()
    assert set(states(project).values()) == {"active"}
    (health,) = list_health(project)
    assert health.state == "problem"
    assert "locked" in health.problem


def test_what_cannot_be_read_waits_with_its_reason_and_resolves_itself(project, inbox, look, make_png):
    whole = make_png(inbox / "a.png", 1).read_bytes()
    (inbox / "a.png").write_bytes(whole[: len(whole) // 2])
    (inbox / "plate.exr").write_bytes(b"v/1\x01 and so on")
    look()
    waiting = {one.shown: one for one in quarantine.list_quarantine(project)}
    assert set(waiting) == {"a.png", "plate.exr"}
    assert not waiting["a.png"].can_keep
    assert waiting["a.png"].message
    (inbox / "a.png").write_bytes(whole)
    look()
    assert states(project) == {"a.png": "active"}
    assert [one.shown for one in quarantine.list_quarantine(project)] == ["plate.exr"]


def test_small_pictures_wait_and_can_be_kept_discarded_or_moved(project, inbox, look, make_png):
    set_value(project.paths.config, "watch.min_side", 100)
    add_asset(project, "ilse", "character")
    for seed in range(3):
        make_png(inbox / f"{seed}.png", seed)
    make_png(inbox / "large.png", 9, size=(200, 150))
    look()
    assert states(project) == {"large.png": "active"}
    by_name = {one.shown: one for one in quarantine.list_quarantine(project)}
    assert {one.code for one in by_name.values()} == {"small"}
    assert quarantine.keep(project, [by_name["0.png"]]) == []
    quarantine.discard(project, [by_name["1.png"]], why="blurred")
    quarantine.move_to(project, [by_name["2.png"]], "ilse")
    assert states(project) == {"large.png": "active", "0.png": "active"}
    assert states(project, "ilse") == {"2.png": "active"}
    look()
    assert quarantine.list_quarantine(project) == []
    assert states(project) == {"large.png": "active", "0.png": "active"}


def test_what_was_discarded_stays_so_until_it_is_another_file(project, inbox, look, make_png):
    (inbox / "a.png").write_bytes(b"no picture")
    look()
    quarantine.discard(project, quarantine.list_quarantine(project))
    (inbox / "a.txt").write_text("a caption beside it")
    look()
    assert quarantine.list_quarantine(project) == []
    (inbox / "a.png").write_bytes(b"no picture either")
    look()
    assert [one.shown for one in quarantine.list_quarantine(project)] == ["a.png"]
    make_png(inbox / "a.png", 1)
    look()
    assert only(project).caption == "a caption beside it"


def test_near_duplicates_wait_where_the_film_asks_for_it(project, inbox, look, make_png):
    set_value(project.paths.config, "watch.near_duplicates", "ask")
    make_png(inbox / "a.png", 1)
    look()
    with Pillow.open(inbox / "a.png") as picture:
        picture.save(inbox / "a.jpg", quality=90)
        picture.save(inbox / "b.jpg", quality=80)
    look()
    waiting = quarantine.list_quarantine(project)
    assert [one.code for one in waiting] == ["near-duplicate"] * 2
    assert states(project) == {"a.png": "active"}


def test_temporary_names_are_not_seen(project, inbox, look, make_png):
    for name in (".hidden.png", "a.png.part", "a.png.crdownload", "~$b.png", "c.png.tmp"):
        make_png(inbox / name, 1)
    look()
    assert states(project) == {}
    assert quarantine.list_quarantine(project) == []


def test_one_watcher_at_a_time_and_the_next_takes_over(project, inbox, make_png):
    first_stop, second_stop, said = threading.Event(), threading.Event(), []
    first = threading.Thread(target=Watcher(project).run, args=(first_stop,))
    second = threading.Thread(target=Watcher(project, say=said.append).run, args=(second_stop,))
    first.start()
    time.sleep(0.5)
    second.start()
    try:
        with pytest.raises(BusyError):
            Watcher(project).once()
        time.sleep(1.0)
        assert any("standing by" in one for one in said)
        first_stop.set()
        first.join(10)
        make_png(inbox / "a.png", 1)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not states(project):
            time.sleep(0.1)
        assert states(project) == {"a.png": "active"}
    finally:
        first_stop.set()
        second_stop.set()
        first.join(10)
        second.join(10)


def test_folders_outside_the_film_are_watched_for_an_asset(project, inbox, look, make_png, tmp_path):
    share = tmp_path / "share"
    make_png(share / "a.png", 1)
    text = project.paths.config.read_text() + f'\n[[watch.roots]]\nasset = "mara"\npath = "{share}"\nmode = "polling"\n'
    text = text.replace("[watch]\n", "[watch]\n", 1)
    project.paths.config.write_text(text)
    look()
    assert only(project).origin == str(share)
    assert {one.path: one.mode for one in list_health(project)}[str(share)] == "polling"


@pytest.mark.parametrize(
    ("asset", "path", "word"),
    [("nobody", "/tmp", "nobody"), ("mara", ".", "film"), ("mara", "characters/mara", "one place")],
)
def test_a_folder_that_cannot_be_watched_is_refused(project, inbox, asset, path, word):
    text = project.paths.config.read_text() + f'\n[[watch.roots]]\nasset = "{asset}"\npath = "{path}"\n'
    project.paths.config.write_text(text)
    with pytest.raises(ConfigError, match=word):
        watched_folders(project)


def test_changes_without_events_are_found_by_the_next_scan_and_counted(project, inbox, make_png, monkeypatch):
    set_value(project.paths.config, "watch.scan_minutes", 0.02)
    monkeypatch.setattr("assetforge.watch.observer.Hints.dispatch", lambda self, event: None)
    stopping = threading.Event()
    thread = threading.Thread(target=Watcher(project).run, args=(stopping,))
    thread.start()
    try:
        time.sleep(1.0)
        make_png(inbox / "a.png", 1)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not states(project):
            time.sleep(0.1)
    finally:
        stopping.set()
        thread.join(10)
    assert states(project) == {"a.png": "active"}
    (health,) = list_health(project)
    assert health.missed >= 1


def test_a_system_without_more_watches_is_polled_and_says_so(project, inbox, look, make_png, monkeypatch):
    def exhausted(self, *args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("watchdog.observers.api.BaseObserver.schedule", exhausted)
    make_png(inbox / "a.png", 1)
    look()
    (health,) = list_health(project)
    assert (health.mode, states(project)) == ("polling", {"a.png": "active"})
    assert "max_user_watches" in health.problem


def test_a_full_store_is_said_and_the_files_are_taken_in_later(project, inbox, make_png, monkeypatch):
    from assetforge.errors import StorageError
    from assetforge.services.intake_pool import IntakePool

    make_png(inbox / "a.png", 1)
    real, said = IntakePool.run, []

    def full(self, files):
        raise StorageError("The disk is full; blobs could not be written.", hint="Free some space.")

    monkeypatch.setattr(IntakePool, "run", full)
    monkeypatch.setattr("assetforge.watch.watcher._RETRY_S", 0.3)
    watcher = Watcher(project, say=said.append)
    stopping = threading.Event()
    thread = threading.Thread(target=watcher.run, args=(stopping,))
    thread.start()
    try:
        time.sleep(2.0)
        assert states(project) == {}
        monkeypatch.setattr(IntakePool, "run", real)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not states(project):
            time.sleep(0.1)
    finally:
        stopping.set()
        thread.join(10)
    assert states(project) == {"a.png": "active"}
    assert len([one for one in said if "disk is full" in one]) == 1


def test_rows_of_files_that_vanished_while_nobody_watched_are_dealt_with(project, inbox, look, make_png):
    for seed in range(30):
        make_png(inbox / f"{seed}.png", seed)
    look()
    for seed in range(25):
        (inbox / f"{seed}.png").unlink()
    look()
    assert sum(state == "excluded" for state in states(project).values()) == 25
    with closing(sqlite3.connect(project.paths.database)) as connection:
        assert connection.execute("SELECT count(*) FROM watched_file").fetchone() == (5,)
    with project.read() as session:
        assert session.exec(select(Reference).where(Reference.excluded_by == "watch")).all()
