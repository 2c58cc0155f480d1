import dataclasses

import pytest
from sqlmodel import select

from assetforge.actor import acting_as
from assetforge.db.models_jobs import Comparison
from assetforge.db.models_review import CellView, Vote
from assetforge.jobs import background
from assetforge.services.assets import set_asset
from assetforge.services.comparison import list_comparisons, request_comparison
from assetforge.services.reviews import blind_pairs, note_view, review_status
from assetforge.services.suites import add_suite
from assetforge.services.versions import resolve_version
from assetforge.tui.screens import compare_looking
from assetforge.tui.screens.compare import CompareScreen, open_comparison
from assetforge.tui.screens.compare_list import CellList
from assetforge.tui.screens.compare_stage import PictureStage
from assetforge.tui.screens.dialogs import ChoiceDialog, ConfirmDialog, WhyDialog
from assetforge.tui.widgets.picture import Picture
from tests.tui.compared_film import (  # noqa: F401
    compared,
    judged,
    made_worlds,
    opened,
    registry,
    settled,
    told,
    until,
    words,
    world,
    worst,
)


@pytest.fixture
def film(world, compared, program):  # noqa: F811
    """A function that makes the program over that film."""
    return lambda **more: program(world.project.root, **more)


def showing(screen, *names):
    return tuple(screen.query_one(f"#{name}", Picture).showing for name in names)


async def answer(pilot, kind, *keys):
    """Wait for a dialog, press keys in it."""
    await until(pilot, lambda: isinstance(pilot.app.screen, kind))
    await pilot.pause()
    await pilot.press(*keys)
    await until(pilot, lambda: not isinstance(pilot.app.screen, kind))


async def test_the_worst_cell_is_shown_first_with_both_versions_and_the_verdict(film, world, compared):  # noqa: F811
    async with (app := film()).run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, compared.id)
        order = worst(world.project, compared.id)
        await until(pilot, lambda: screen.current == order[0])
        cell = screen.facts.cells[order[0]]
        await until(
            pilot, lambda: showing(screen, "left", "right") == (cell.pictures["new"], cell.pictures["baseline"])
        )
        text = words(app)
        assert "v2 ◐ review  against  v1 ● approved" in text
        assert "INCONCLUSIVE" in text
        assert "Probe" in text
        assert "2 new in d2" in text
        assert cell.prompt in text
        await pilot.press("n", "down")
        await until(pilot, lambda: screen.current == order[2])
        await pilot.press("p")
        await until(pilot, lambda: screen.current == order[1])
        # Keys of a vote do nothing outside of one.
        await pilot.press("1", "2", "0", "left", "right")
        await settled(pilot)
        await until(pilot, lambda: screen.current == order[1])
    with world.project.read() as session:
        assert not session.exec(select(Vote)).all()


async def test_space_swaps_the_pictures_in_one_place(film, compared):  # noqa: F811
    async with film().run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, compared.id)
        cell = screen.facts.cells[screen.current]
        await pilot.press("space")
        await settled(pilot)
        stage, one = screen.query_one(PictureStage), screen.query_one("#one", Picture)
        await until(pilot, lambda: (stage.mode, one.showing) == ("place", cell.pictures["new"]))
        place = one.region
        assert place.area > screen.query_one("#left", Picture).region.area
        await until(pilot, lambda: one.is_ready(cell.pictures["baseline"]))
        await pilot.press("space")
        # Ready: no layout, no waiting, the same place.
        assert (one.showing, one.shown_caption, one.region) == (cell.pictures["baseline"], "v1", place)
        await pilot.press("space")
        await until(pilot, lambda: (one.showing, one.shown_caption) == (cell.pictures["new"], "v2"))
        await pilot.press("escape")
        await until(pilot, lambda: stage.mode == "pair")
        await until(pilot, lambda: isinstance(pilot.app.screen, CompareScreen))


async def test_difference_base_and_strengths_stand_beside_the_two_and_the_list_has_two_orders(film, compared):  # noqa: F811
    async with film().run_test(size=(140, 44)) as pilot:
        screen = await opened(pilot, compared.id)
        stage, third = screen.query_one(PictureStage), screen.query_one("#third", Picture)
        await pilot.press("d")
        await until(pilot, lambda: third.shown_caption.startswith("differs in "))
        await until(pilot, lambda: ", shown ×" in third.shown_caption)
        await pilot.press("b")
        await settled(pilot)
        await until(pilot, lambda: third.showing == screen.facts.cells[screen.current].pictures["control"])
        await pilot.press("escape")
        assert stage.extra == ""
        strip = next(one for one in screen.facts.strips.values())
        screen.look_at(strip[-1])
        await pilot.press("s")
        await until(pilot, lambda: len(stage.query("#strengths-grid Picture")) == 2 * len(strip))
        await settled(pilot)
        captions = [picture.shown_caption for picture in stage.query("#strengths-grid Picture").results(Picture)]
        assert captions[0].startswith("v2 at 0")
        assert captions[-1].startswith("▸ v1 at 1")
        await pilot.press("comma")
        await until(pilot, lambda: screen.facts.cells[screen.current].strength == 0.5)
        await pilot.press("escape")
        await pilot.press("o")
        cells = screen.query_one(CellList)
        assert [cell.index for cell in screen.ordered()] == sorted(screen.facts.cells)
        await until(pilot, lambda: cells.current.index == screen.current)
        screen.query_one("#blocks").focus()
        await pilot.press("down", "down")
        await pilot.pause()
        assert {cell.block for cell in screen.ordered()} == {"strength"}
        await until(pilot, lambda: screen.facts.cells[screen.current].block == "strength")


async def test_a_cell_counts_as_seen_after_a_moment_and_not_in_passing(film, world, compared):  # noqa: F811
    def views():
        with world.project.read() as session:
            return {view.cell_index: (view.actor, view.seconds) for view in session.exec(select(CellView)).all()}

    async with film().run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, compared.id)
        order = worst(world.project, compared.id)
        await pilot.press("n", "n")
        await until(pilot, lambda: screen.current == order[2])
        await until(pilot, lambda: order[2] in views())
        await settled(pilot)
        assert set(views()) <= {order[0], order[2]}
        assert order[1] not in views()
        actor, seconds = views()[order[2]]
        assert actor == "director"
        assert seconds >= 0.6
        await until(pilot, lambda: "✓" in words(pilot.app))


async def test_approving_unseen_asks_first_and_says_so_in_the_evidence(film, world, compared):  # noqa: F811
    async with (app := film()).run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, compared.id)
        said = told(app)
        await pilot.press("a")
        await answer(pilot, ChoiceDialog, "enter")
        await until(pilot, lambda: screen.current == screen.facts.unseen(screen.opened)[0])
        await pilot.press("a")
        await answer(pilot, ChoiceDialog, "down", "enter")
        await until(pilot, lambda: isinstance(app.screen, WhyDialog))
        await pilot.pause()
        await until(pilot, lambda: "without looking" in words(app))
        await pilot.press(*"fine", "enter")
        await until(pilot, lambda: said)
        await until(pilot, lambda: said == ["● mara/v2 is approved, after mara/v1."])
    assert "approved" in resolve_version(world.project, "mara/v2").aliases


async def test_whoever_has_looked_is_asked_for_the_reason_only(film, world, compared, monkeypatch):  # noqa: F811
    monkeypatch.setattr(compare_looking, "LOOK_S", 0.1)
    async with (app := film()).run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, compared.id)
        said = told(app)
        for cell in screen.facts.required:
            screen.look_at(cell)
            await until(pilot, lambda cell=cell: cell in screen.opened)
        await app.workers.wait_for_complete()
        with acting_as("director"):
            assert not review_status(world.project, compared.id).missing
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, WhyDialog))
        await pilot.pause()
        await pilot.press(*"hm", "enter")
        await until(pilot, lambda: said)
        await until(pilot, lambda: said == ["✕ mara/v2 is rejected."])
        await until(pilot, lambda: screen.facts.new.state == "rejected")


async def test_a_verdict_against_it_is_asked_about_again(film, world, compared):  # noqa: F811
    judged(world.project, compared.id, "regressed")
    for cell in worst(world.project, compared.id)[:4]:
        note_view(world.project, compared.id, cell, 1.0)
    approve_dialogs = []
    async with (app := film()).run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, compared.id)
        said = told(app)
        await until(pilot, lambda: "▲ REGRESSED" in words(app))
        await until(pilot, lambda: not screen.facts.unseen(screen.opened))
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.pause()
        approve_dialogs.append(words(app))
        await pilot.press("n")
        await until(pilot, lambda: app.screen is screen)
        await until(pilot, lambda: resolve_version(world.project, "mara/v2").stage == "candidate")
        await pilot.press("a")
        await answer(pilot, ConfirmDialog, "y")
        await answer(pilot, WhyDialog, *"anyway", "enter")
        await until(pilot, lambda: said)
    assert "speaks against mara/v2" in approve_dialogs[0]
    assert resolve_version(world.project, "mara/v2").stage == "approved"


async def test_a_blind_vote_tells_nothing_and_keeps_what_was_meant(film, world, compared):  # noqa: F811
    async with (app := film()).run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, compared.id)
        said = told(app)
        await pilot.press("v")
        await until(pilot, lambda: screen.ballots is not None)
        await settled(pilot)
        text = words(app)
        for telling in ("v1", "v2", "INCONCLUSIVE", "new in d2", "approved", "−."):
            assert telling not in text, telling
        assert "BLIND VOTE" in text
        order = screen.ballots.order
        await until(pilot, lambda: screen.current == order[0])
        for key in ("1", "right", "0"):
            await pilot.press(key)
            await pilot.pause()
        await until(pilot, lambda: screen.current == order[3])
        await until(pilot, lambda: "3 of" in words(app))
        await pilot.press("escape")
        await until(pilot, lambda: said)
        await until(pilot, lambda: "3 answers are kept" in "\n".join(said))
        await until(pilot, lambda: "v2 ◐ review" in words(app))
    with world.project.read() as session:
        votes = session.exec(select(Vote).order_by(Vote.id)).all()
    with acting_as("director"):
        left = {pair.shown.cell: pair.left for pair in blind_pairs(world.project, compared.id)}
    other = {"new": "baseline", "baseline": "new"}
    meant = {order[0]: left[order[0]], order[1]: other[left[order[1]]], order[2]: "tie"}
    assert {vote.cell_index: vote.choice for vote in votes} == meant
    assert {vote.cell_index: vote.left_side for vote in votes} == {cell: left[cell] for cell in meant}


async def test_a_first_version_stands_beside_the_bare_base(world, program):  # noqa: F811
    info = world.compare("mara/v1")
    async with (app := program(world.project.root)).run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, info.id)
        said = told(app)
        text = words(app)
        assert "v1 ◐ review  against  the bare base" in text
        assert "FIRST VERSION" in text
        assert "references" in text
        await pilot.press("b", "v")
        await until(pilot, lambda: len(said) > 1)
        await until(pilot, lambda: "bare base" in "\n".join(said))
        await until(pilot, lambda: "no two versions" in "\n".join(said))
        assert screen.ballots is None


async def test_an_unfinished_comparison_says_what_it_waits_for_and_becomes_the_real_thing(world, program, compared):  # noqa: F811
    with world.project.write() as session:
        finished = session.get_one(Comparison, compared.id)
        kept = finished.state, finished.scores
        finished.state, finished.scores = "queued", ""
        session.add(finished)
    async with (app := program(world.project.root)).run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, compared.id)
        assert screen.unfinished is not None
        await until(pilot, lambda: "Nothing works on it" in words(app))
        assert screen.check_action("approve", ()) is False
        with world.project.write() as session:
            row = session.get_one(Comparison, compared.id)
            row.state, row.scores = kept
            session.add(row)
        await until(pilot, lambda: screen.facts is not None)
        await settled(pilot)
        await until(pilot, lambda: "INCONCLUSIVE" in words(app))


async def test_jobs_that_are_waited_for_are_shown(world, program):  # noqa: F811
    info = request_comparison(world.project, "mara/v2", "mara/v1")
    async with (app := program(world.project.root)).run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, info.id)
        text = words(app)
        assert f"job {info.jobs[0]}" in text
        assert "waits for its turn" in text
        assert "when the pictures are there" in text
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is not screen)


async def test_a_version_without_a_comparison_is_offered_one_with_what_it_costs(world, program, monkeypatch):  # noqa: F811
    asked = []
    monkeypatch.setattr(background, "ensure_supervisor", asked.append)
    async with (app := program(world.project.root)).run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.session is not None and app.session.is_open and app.pictures)
        below = app.screen
        app.run_worker(open_comparison(app, app.session, "mara/v2"), exit_on_error=False)
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.pause()
        text = words(app)
        assert "Compare mara/v2 with mara/v1?" in text
        assert "21 pictures to render" in text
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is below)
        await until(pilot, lambda: not list_comparisons(world.project))
        app.run_worker(open_comparison(app, app.session, "mara/v2"), exit_on_error=False)
        await answer(pilot, ConfirmDialog, "y")
        await until(pilot, lambda: isinstance(app.screen, CompareScreen))
        await until(pilot, lambda: len(asked) == 1)
        (info,) = list_comparisons(world.project)
        await until(pilot, lambda: app.screen.comparison_id == info.id)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is below)
        # One that is being made is shown, and not made twice.
        app.run_worker(open_comparison(app, app.session, "mara/v2"), exit_on_error=False)
        await until(pilot, lambda: isinstance(app.screen, CompareScreen))
        await until(pilot, lambda: app.screen.comparison_id == info.id)


async def test_the_quick_size_of_a_suite_is_offered_with_what_it_costs(world, program, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(background, "ensure_supervisor", lambda _project: None)
    file = tmp_path / "patient.toml"
    file.write_text(
        'name = "patient"\nfamily = "sd15"\nasset_types = ["character"]\nsteps = 2\nwidth = 32\nheight = 32\n[[blocks]]\n'
        'name = "core"\nprompts = ["{trigger} by day", "{trigger} by night", "{trigger} at sea"]\nseeds = [1]\nquick = 1\n'
    )
    add_suite(world.project, file)
    set_asset(world.project, "mara", suite="patient")
    async with (app := program(world.project.root)).run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.session is not None and app.session.is_open and app.pictures)
        app.run_worker(open_comparison(app, app.session, "mara/v2"), exit_on_error=False)
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.pause()
        for text in (
            "9 pictures to render. Suite patient.",
            "3 pictures to render. Suite patient-quick.",
            "k  quick size",
        ):
            assert text in words(app)
        await pilot.press("k")
        await until(pilot, lambda: isinstance(app.screen, CompareScreen))
        await until(pilot, lambda: [one.suite for one in list_comparisons(world.project)] == ["patient-quick"])


async def test_a_decision_belongs_to_the_comparison_it_rests_on(world, program, compared):  # noqa: F811
    first = world.compare("mara/v2", metrics=["probe"])
    assert first.id != compared.id
    async with (app := program(world.project.root)).run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, compared.id)
        await until(pilot, lambda: f"a decision rests on comparison {first.id}" in words(app))
        await pilot.press("a")
        await answer(pilot, ChoiceDialog, "enter")
        await until(pilot, lambda: screen.facts is not None and screen.facts.info.id == first.id)


async def test_a_small_terminal_keeps_the_pictures_and_has_the_figures_behind_a_key(film, compared):  # noqa: F811
    async with (app := film()).run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, compared.id)
        await until(pilot, lambda: not screen.query_one("#listed").display)
        pictures = [screen.query_one(f"#{name}", Picture).region for name in ("left", "right")]
        assert all(region.width >= 34 and region.height >= 17 for region in pictures)
        await pilot.press("n")
        await until(pilot, lambda: "2/8" in words(app))
        await pilot.press("f")
        await pilot.pause()
        await until(pilot, lambda: "What changed" in words(app))
        await pilot.press("escape")
        await pilot.press("slash")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        await pilot.pause()
        await pilot.press("down", "enter")
        await until(pilot, lambda: app.screen is screen)
        await until(pilot, lambda: {cell.block for cell in screen.ordered()} == {"core"})
        await pilot.press("escape")
        assert len(screen.ordered()) == 8


async def test_without_pictures_words_and_numbers_are_enough_and_nothing_counts_as_seen(film, world, compared):  # noqa: F811
    async with (app := film(images="off")).run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, compared.id)
        text = words(app)
        assert "likeness of" in text
        assert "Pictures are off" in text
        await pilot.pause(0.8)
        assert not screen.opened
        said = told(app)
        await pilot.press("e")
        await until(pilot, lambda: said)
        await until(pilot, lambda: screen.current in review_status(world.project, compared.id).opened or screen.opened)
        await until(pilot, lambda: ".png" in "\n".join(said))


async def test_what_people_wrote_breaks_nothing(world, program, compared):  # noqa: F811
    nasty = "a[/b] [red]\x1b[31m\nline\u202e مرحبا 🎬"
    with world.project.write() as session:
        row = session.get_one(Comparison, compared.id)
        verdict = {**row.summary["verdict"], "headline": nasty, "not_measured": [nasty]}
        row.summary = {**row.summary, "verdict": verdict, "sentence": nasty}
        session.add(row)
    for size in ((80, 24), (200, 60)):
        async with (app := program(world.project.root)).run_test(size=size) as pilot:
            await opened(pilot, compared.id)
            text = words(app)
            assert "\x1b" not in text
            assert "\u202e" not in text
            await pilot.press("f")
            await pilot.pause()
            await until(pilot, lambda: "[/b] [red]" in words(app))


async def test_blinking_by_itself_respects_motion(film, compared):  # noqa: F811
    async with (app := film()).run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, compared.id)
        said = told(app)
        await pilot.press("B")
        await until(pilot, lambda: "Motion is off" in "\n".join(said))
        await until(pilot, lambda: screen.query_one(PictureStage).mode == "pair")
    async with film().run_test(size=(120, 40)) as pilot:
        pilot.app.preferences = dataclasses.replace(pilot.app.preferences, motion=True)
        screen = await opened(pilot, compared.id)
        stage = screen.query_one(PictureStage)
        await pilot.press("B")
        await until(pilot, lambda: stage.mode == "place" and stage.in_place == "right")
        await until(pilot, lambda: stage.in_place == "left")
        await pilot.press("escape")
        assert (stage.mode, screen._blinking) == ("pair", None)
