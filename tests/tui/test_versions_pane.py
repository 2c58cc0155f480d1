import pytest
from sqlmodel import select
from textual.widgets import Input, OptionList, Static

from assetforge.db.browse.lineage import VersionSource
from assetforge.db.models import Alias, AliasMove, Run, Version
from assetforge.jobs import background
from assetforge.paths import ProjectPaths
from assetforge.services.comparison import list_comparisons
from assetforge.services.releases import alias_log, reject
from assetforge.services.reviews import note_view, review_status
from assetforge.services.versions import import_version, resolve_version
from assetforge.tui.screens.compare import CompareScreen
from assetforge.tui.screens.dialogs import ChoiceDialog, ConfirmDialog, FieldsDialog, WhyDialog
from assetforge.tui.screens.version_lineage import LineageScreen
from assetforge.tui.screens.version_pictures import VersionPictures
from assetforge.tui.screens.version_texts import exponent
from assetforge.tui.screens.versions import VersionsPane
from assetforge.tui.widgets.lineage import lineage_of
from assetforge.tui.widgets.picture import Picture
from tests.tui.compared_film import (  # noqa: F401
    compared,
    judged,
    made_worlds,
    registry,
    settled,
    told,
    until,
    words,
    world,
)
from tests.tui.conftest import NASTY


@pytest.fixture
def no_supervisor(monkeypatch):
    """Jobs are queued; who would run them is only counted."""
    started = []
    monkeypatch.setattr(background, "ensure_supervisor", started.append)
    return started


async def pane_of(pilot, asset="mara", address=""):
    app = pilot.app
    await until(pilot, lambda: app.session is not None and app.session.is_open)
    await app.open_asset(asset, "versions", address)
    await until(pilot, lambda: app.screen.query(VersionsPane))
    pane = app.screen.query_one(VersionsPane)
    await until(pilot, lambda: pane.query_one("#versions-table").source is not None)
    await settled(pilot)
    return pane


async def asked(pilot, kind):
    await until(pilot, lambda: isinstance(pilot.app.screen, kind))
    await pilot.pause()
    return pilot.app.screen


async def choose(pilot, number):
    """One of a list of choices, by its place."""
    screen = await asked(pilot, ChoiceDialog)
    screen.query_one(OptionList).highlighted = number
    await pilot.press("enter")
    await until(pilot, lambda: pilot.app.screen is not screen)


async def write(pilot, text):
    """A text into the field that has the focus, and enter."""
    field = pilot.app.screen.query_one(Input)
    field.value = text
    await pilot.press("enter")


def facts(pane):
    return pane.query_one("#versions-facts", Static).content.plain


def stage(world, address):  # noqa: F811
    return resolve_version(world.project, address).stage


def add_versions(world, datasets):  # noqa: F811
    """Further versions of mara, one on each of these datasets, by row id."""
    with world.project.write() as session:
        base = session.exec(select(Run)).first().base_model_id
        asset = session.exec(select(Version)).first().asset_id
        for number, dataset in enumerate(datasets, start=3):
            world.add_version(session, asset, number, dataset, base, rank=8 * (1 + number % 3))


# the lines


def drawn(*versions):
    """The lines of versions given oldest first as pairs of parent and dataset, newest first."""
    sources = [
        VersionSource(id=number, number=number, parent=parent, dataset=dataset)
        for number, (parent, dataset) in enumerate(versions, start=1)
    ][::-1]
    found = lineage_of(sources)
    assert all(len(one.before) + 1 + len(one.after) == found.width for one in found.stems.values())
    return [f"{found.stems[one.number].before}o{found.stems[one.number].after}".rstrip() for one in sources]


def test_versions_on_newer_datasets_are_one_line():
    assert drawn((None, 1), (1, 1), (2, 2)) == ["o", "o", "o"]
    assert lineage_of([]).width == 1


def test_a_version_on_an_older_dataset_is_a_branch_from_where_that_was_used_last():
    assert drawn((None, 1), (1, 2), (2, 1), (3, 3)) == ["o", "│ o", "o │", "o─┘"]
    assert drawn((None, 1), (1, 2), (2, 1)) == ["  o", "o │", "o─┘"]


def test_branches_of_one_version_hang_on_its_line():
    # Versions that were made to measure noise are retired, so that the next one has the parent that they have.
    sources = [
        VersionSource(id=n, number=n, parent=p, dataset=d, stage=s)
        for n, p, d, s in (
            (5, 2, 2, "candidate"),
            (4, 2, 1, "retired"),
            (3, 2, 1, "retired"),
            (2, 1, 1, "candidate"),
            (1, None, 1, "candidate"),
        )
    ]
    found = lineage_of(sources)
    assert [found.stems[n].before for n in (5, 4, 3, 2, 1)] == ["", "├─", "├─", "", ""]


def test_what_came_from_elsewhere_stands_alone():
    assert drawn((None, 1), (1, 1), (None, None), (3, 2)) == ["o", "│ o", "o", "o"]
    assert drawn((None, None), (None, None)) == ["o", "o"]


def test_many_branches_never_need_more_room_than_there_is():
    found = drawn(*((number - 1 or None, 1 + number * 7 % 12) for number in range(1, 201)))
    assert max(map(len, found)) <= 11


@pytest.mark.parametrize(("value", "text"), [(1e-4, "1e-4"), (0.0015, "1.5e-3"), (0.0, "0")])
def test_learning_rates_read_as_people_write_them(value, text):
    assert exponent(value) == text


# the list


async def test_a_version_says_what_it_learned_from_what_was_found_and_who_decided(world, compared, program):  # noqa: F811
    async with (app := program(world.project.root)).run_test(size=(200, 40)) as pilot:
        pane = await pane_of(pilot)
        lines = [line for line in words(app).splitlines() if "v2" in line or "v1" in line]
        newest, first = (next(line for line in lines if f"─ {run} ─" in line) for run in (2, 1))
        assert "d2" in newest
        assert "+2 refs" in newest
        assert "◐ v2" in newest
        assert "inconclusive" in newest
        assert "Probe" in newest
        assert "● v1" in first
        assert "approved by director" in first
        assert "not compared" in first
        await until(pilot, lambda: "rank 16" in facts(pane) and "run 2" in facts(pane))
        await until(pilot, lambda: "lr 5e-4" in facts(pane))


async def test_the_worst_cells_stand_beside_those_of_the_other_version(world, compared, program):  # noqa: F811
    async with (program(world.project.root)).run_test(size=(120, 40)) as pilot:
        pane = await pane_of(pilot)
        await until(pilot, lambda: pane.query_one("#left-0", Picture).showing)
        assert pane.query_one("#pictures-head", Static).content.plain == "v2  against  v1   worst cells"
        assert pane.query_one("#left-0", Picture).showing != pane.query_one("#right-0", Picture).showing
        await pilot.press("down")
        await until(pilot, lambda: "newest renders" in pane.query_one("#pictures-head", Static).content.plain)
        await until(pilot, lambda: "on a hill" in pane.query_one("#left-0", Picture).shown_caption)


async def test_an_asset_without_versions_says_how_to_get_one(small_film, program):
    async with (app := program(small_film)).run_test(size=(120, 40)) as pilot:
        await pane_of(pilot)
        await until(pilot, lambda: "t trains the first one" in words(app))
        said = told(app)
        for key in ("c", "a", "x", "p", "A", "R", "l"):
            await pilot.press(key)
        await settled(pilot)
        assert len(said) == 7


@pytest.mark.parametrize(("size", "images"), [((80, 24), "halfcell"), ((120, 40), "off"), ((200, 60), "halfcell")])
async def test_text_of_people_is_never_markup_and_every_size_holds_forty_versions(world, program, size, images):  # noqa: F811
    add_versions(world, [1 + at % 2 for at in range(38)])
    with world.project.write() as session:
        for number in range(3, 41):
            row = session.exec(select(Version).where(Version.number == number)).one()
            row.stage = ("candidate", "rejected", "retired")[number % 3]
            row.note = NASTY if number % 2 else ""
            session.add(row)
        session.add(Alias(asset_id=row.asset_id, name="hero", version_id=row.id))
        session.add(
            AliasMove(
                asset_id=row.asset_id,
                name="approved",
                from_version_id=None,
                to_version_id=row.id,
                actor=NASTY,
                why=NASTY + " because " * 300,
                evidence={},
            )
        )
    async with (app := program(world.project.root, images=images)).run_test(size=size) as pilot:
        pane = await pane_of(pilot, address="mara/v40")
        text = words(app)
        assert "v40" in text
        assert "\x1b" not in text
        await pilot.press("end")
        await settled(pilot)
        await until(pilot, lambda: pane.current_version().number == 1)
        pane.show_address("mara/v17")
        await settled(pilot)
        await until(pilot, lambda: pane.current_version().number == 17)
        await until(pilot, lambda: "a[/b] [red]" in facts(pane))
        await pilot.press("l")
        screen = await asked(pilot, LineageScreen)
        await until(pilot, lambda: "sha256" in screen.query_one("#made-text").plain)


async def test_the_cursor_stays_on_its_version_when_another_is_made(world, compared, program):  # noqa: F811
    async with (program(world.project.root)).run_test(size=(120, 40)) as pilot:
        pane = await pane_of(pilot)
        add_versions(world, [2])
        await until(pilot, lambda: len(pane.query_one("#versions-table").source) == 3)
        await until(pilot, lambda: pane.current_version().number == 2)


# deciding


async def test_approving_without_having_looked_offers_to_look(world, compared, program):  # noqa: F811
    async with (app := program(world.project.root)).run_test(size=(120, 40)) as pilot:
        await pane_of(pilot)
        await pilot.press("a")
        await choose(pilot, 0)
        await until(pilot, lambda: isinstance(app.screen, CompareScreen))
        await until(pilot, lambda: app.screen.comparison_id == compared.id)
        await until(pilot, lambda: stage(world, "mara/v2") == "candidate")


async def test_approving_without_looking_is_kept_with_the_reason(world, compared, program):  # noqa: F811
    async with (app := program(world.project.root)).run_test(size=(120, 40)) as pilot:
        pane = await pane_of(pilot)
        said = told(app)
        await pilot.press("a")
        await choose(pilot, 1)
        await asked(pilot, WhyDialog)
        await write(pilot, "the scar [is] right")
        await until(pilot, lambda: said)
        await until(pilot, lambda: said == ["● mara/v2 is approved, after mara/v1."])
        entry = alias_log(world.project, "mara")[0]
        assert entry.why == "the scar [is] right"
        assert entry.evidence["unseen"]
        await until(pilot, lambda: "approved by director: the scar [is] right" in facts(pane))


async def test_who_looked_is_asked_for_the_reason_only_and_against_the_verdict_once_more(world, compared, program):  # noqa: F811
    judged(world.project, compared.id, "regressed")
    for cell in review_status(world.project, compared.id).missing:
        note_view(world.project, compared.id, cell)
    async with (app := program(world.project.root)).run_test(size=(120, 40)) as pilot:
        await pane_of(pilot)
        said = told(app)
        await pilot.press("a")
        await asked(pilot, ConfirmDialog)
        await pilot.press("n")
        await settled(pilot)
        await until(pilot, lambda: stage(world, "mara/v2") == "candidate")
        await pilot.press("a")
        await asked(pilot, ConfirmDialog)
        await pilot.press("y")
        await asked(pilot, WhyDialog)
        await write(pilot, "wanted so")
        await until(pilot, lambda: said)
        evidence = alias_log(world.project, "mara")[0].evidence
        assert evidence["anyway"]
        assert "unseen" not in evidence


async def test_a_version_is_rejected_with_a_reason_and_the_approved_one_is_not(world, compared, program):  # noqa: F811
    async with (app := program(world.project.root)).run_test(size=(120, 40)) as pilot:
        pane = await pane_of(pilot)
        said = told(app)
        await pilot.press("x")
        await choose(pilot, 1)
        await asked(pilot, WhyDialog)
        await write(pilot, "the scar is gone")
        await until(pilot, lambda: said)
        await until(pilot, lambda: stage(world, "mara/v2") == "rejected")
        await until(pilot, lambda: "✕ rejected" in facts(pane))
        await pilot.press("down", "x")
        await until(pilot, lambda: len(said) == 2)
        await until(pilot, lambda: "Approve the one that takes its place first" in "\n".join(said))


async def test_what_was_never_compared_can_be_turned_down_at_once_and_approved_in_so_many_words(world, program):  # noqa: F811
    async with (app := program(world.project.root)).run_test(size=(120, 40)) as pilot:
        await pane_of(pilot)
        said = told(app)
        await pilot.press("x")
        await asked(pilot, WhyDialog)
        await write(pilot, "plainly wrong")
        await until(pilot, lambda: said)
        await pilot.press("down", "a")
        await choose(pilot, 1)
        await asked(pilot, WhyDialog)
        await write(pilot, "there is no other")
        await until(pilot, lambda: len(said) == 2)
        await until(pilot, lambda: stage(world, "mara/v1") == "approved")


# comparing, naming, files


async def test_enter_compares_and_two_marks_are_compared_with_each_other(world, program, no_supervisor):  # noqa: F811
    add_versions(world, [2])
    reject(world.project, "mara/v2", why="no")
    async with (app := program(world.project.root)).run_test(size=(120, 40)) as pilot:
        pane = await pane_of(pilot)
        said = told(app)
        await pilot.press("space", "space")
        await until(pilot, lambda: "c compares these two" in facts(pane))
        await pilot.press("x")
        await until(pilot, lambda: "one version at a time" in "\n".join(said))
        await pilot.press("c")
        await asked(pilot, ConfirmDialog)
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, CompareScreen))
        (asked_for,) = list_comparisons(world.project, "mara/v3")
        assert asked_for.baseline == "mara/v2"
        assert no_supervisor
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, CompareScreen))
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, CompareScreen))
        await until(pilot, lambda: len(list_comparisons(world.project, "mara/v3")) == 1)


async def test_publishing_says_the_path(world, compared, program):  # noqa: F811
    async with (app := program(world.project.root)).run_test(size=(120, 40)) as pilot:
        pane = await pane_of(pilot)
        said = told(app)
        await pilot.press("p")
        await until(pilot, lambda: said)
        await until(pilot, lambda: said == ["mara/v2 is loras/mara/mara-v002.safetensors in the film's folder."])
        assert (ProjectPaths(world.project.root).loras / "mara" / "mara-v002.safetensors").is_file()
        await until(pilot, lambda: "published  loras/mara/mara-v002.safetensors" in facts(pane))


async def test_a_name_of_ones_own_is_checked_before_it_is_taken(world, program):  # noqa: F811
    async with (app := program(world.project.root)).run_test(size=(120, 40)) as pilot:
        pane = await pane_of(pilot)
        said = told(app)
        await pilot.press("A")
        screen = await asked(pilot, FieldsDialog)
        screen.query_one("#field-name", Input).value = "approved"
        screen.query_one("#field-why", Input).focus()
        await pilot.press("enter")
        assert "a review decides" in screen.query_one(".dialog-problem", Static).content.plain
        screen.query_one("#field-name", Input).value = "hero"
        await pilot.press("enter")
        await until(pilot, lambda: said)
        await until(pilot, lambda: resolve_version(world.project, "mara@hero").address == "mara/v2")
        await until(pilot, lambda: "@hero" in facts(pane))


async def test_a_lora_is_imported_and_what_cannot_be_is_asked_again(world, program):  # noqa: F811
    file = world.weights("from [elsewhere]", 7.0, {"ss_base_model_version": "unknown"})
    async with (app := program(world.project.root)).run_test(size=(120, 40)) as pilot:
        pane = await pane_of(pilot)
        said = told(app)
        await pilot.press("i")
        screen = await asked(pilot, FieldsDialog)
        screen.query_one("#field-file", Input).value = str(file)
        screen.query_one("#field-note", Input).focus()
        await pilot.press("enter")
        problem = screen.query_one(".dialog-problem", Static)
        await until(pilot, lambda: "does not say which model family" in problem.content.plain)
        assert "--family" not in problem.content.plain
        screen.query_one("#field-family", Input).value = "sd15"
        await pilot.press("enter")
        await until(pilot, lambda: said)
        await until(pilot, lambda: said == ["mara/v3 is taken in, for sd15."])
        await until(pilot, lambda: len(pane.query_one("#versions-table").source) == 3)
        pane.show_address("mara/v3")
        await until(pilot, lambda: "imported from  from [elsewhere].safetensors" in facts(pane))
        await until(pilot, lambda: "imported" in words(app))


async def test_rendering_is_asked_for_and_queued(world, program, no_supervisor):  # noqa: F811
    async with (app := program(world.project.root)).run_test(size=(120, 40)) as pilot:
        await pane_of(pilot)
        said = told(app)
        await pilot.press("R")
        await choose(pilot, 0)
        await until(pilot, lambda: said)
        await until(pilot, lambda: "13 pictures of tiny-core to render" in "\n".join(said))
        assert no_supervisor


# the whole lineage


async def test_lineage_shows_what_changed_and_everything_that_was_done(world, compared, program):  # noqa: F811
    async with (app := program(world.project.root)).run_test(size=(120, 40)) as pilot:
        await pane_of(pilot)
        await pilot.press("l")
        screen = await asked(pilot, LineageScreen)
        await until(pilot, lambda: "sha256" in screen.query_one("#made-text").plain)
        text = screen.query_one("#made-text").plain
        assert "goes on from  v1" in text
        assert "different from v1" in text
        assert "rank  8 → 16" in text
        assert "1 other parameter is the same" in text
        assert "paint-lora 1 (review-plugin 1.0)" in text
        assert "b" * 16 in text
        assert "against v1    ◐ inconclusive  tiny-core" in text
        line = screen.query_one("#made-line", Static).content.plain
        assert "against d1   +2 added" in line
        gallery = screen.query_one("#made-diff")
        gallery.action_go_last()
        await settled(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, LineageScreen))


async def test_lineage_of_a_version_whose_file_is_gone_says_so(world, compared, program):  # noqa: F811
    path = world.project.blobs.path(resolve_version(world.project, "mara/v2").weights)
    path.unlink()
    async with (program(world.project.root)).run_test(size=(80, 24)) as pilot:
        await pane_of(pilot)
        await pilot.press("l")
        screen = await asked(pilot, LineageScreen)
        await until(pilot, lambda: "missing from the store" in screen.query_one("#made-text").plain)


async def test_pictures_of_an_import_are_missing_with_a_sentence(world, program):  # noqa: F811
    import_version(world.project, "mara", world.weights("other", 9.0))
    async with (program(world.project.root)).run_test(size=(120, 40)) as pilot:
        pane = await pane_of(pilot)
        await settled(pilot)
        said = pane.query_one(VersionPictures).query_one("#no-pictures", Static)
        await until(pilot, lambda: "R only renders it" in said.content.plain)
        await pilot.press("l")
        screen = await asked(pilot, LineageScreen)
        await until(pilot, lambda: "imported from other.safetensors" in screen.query_one("#made-text").plain)
        assert "not trained here" in screen.query_one("#made-diff").empty
