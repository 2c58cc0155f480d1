"""The journeys of a new user under Textual's pilot, from an empty list of films on, without the command line."""

import pytest

from assetforge.extension.registry import reset_registry
from assetforge.services.projects import open_project
from assetforge.services.versions import list_versions
from tests.tui.hands import PilotHands
from tests.tui.journey import Journey, draw_stills, write_suite


@pytest.fixture(autouse=True)
def own_registry():
    """Each journey has the plugins that its environment names, whichever another test loaded."""
    reset_registry()
    yield
    reset_registry()


async def test_from_nothing_to_a_rejected_version(home, tmp_path, program, make_png, monkeypatch):
    # Jobs see the example plugin alone, whose model is a matrix.
    monkeypatch.setenv("ASSETFORGE_PLUGINS", "example")
    pytest.importorskip("assetforge_example")
    for at in range(30):
        picture = make_png(tmp_path / "stills" / f"still {at:02d}.png", seed=at, size=(96, 64))
        if at % 5:
            picture.with_suffix(".txt").write_text(f"coat teh outfit, place {at}")
    suite = write_suite(tmp_path, "example-linear", steps=1, cfg=1.0, width=64, height=64)
    async with program().run_test(size=(120, 40), notifications=True) as pilot:
        walk = Journey(PilotHands(pilot), tmp_path / "projects" / "night-harbour", kind="costume", asset="coat")
        await walk.make_the_film()
        await walk.add_the_asset("coatx", "outfit")
        await walk.take_a_small_suite(suite)
        await walk.import_pictures(tmp_path / "stills", 30)
        await walk.fix_captions("teh", "the", "coatx at night, from behind")
        await walk.freeze(27, 3)
        await walk.train(1, 20)
        await walk.to_the_version(1)
        await walk.compare(1, "the bare base")
        await walk.reject(1, "the collar is wrong")
    print(walk.seconds)
    with open_project(walk.film) as project:
        (version,) = list_versions(project, "coat")
        assert version.stage == "rejected"


@pytest.mark.slow
@pytest.mark.parametrize("size", [(120, 40), (80, 24)], ids=["120x40", "80x24"])
async def test_from_nothing_to_a_published_version(home, tmp_path, program, size):
    pytest.importorskip("torch")
    draw_stills(tmp_path / "stills", 30)
    suite = write_suite(tmp_path, "sd15", steps=4, cfg=4.0, width=64, height=64, sampler='"ddim"')
    async with program().run_test(size=size, notifications=True) as pilot:
        walk = Journey(PilotHands(pilot), tmp_path / "projects" / "night-harbour")
        await walk.whole(tmp_path / "stills", suite)
    print(walk.seconds)
    check_the_end(walk)


def check_the_end(walk: Journey) -> None:
    """What is left of the whole journey, as services see it."""
    with open_project(walk.film) as project:
        second, first = list_versions(project, walk.asset)
        assert (first.stage, second.stage) == ("rejected", "approved")
        assert "approved" in second.aliases
