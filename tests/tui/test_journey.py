"""The journeys of a new user under Textual's pilot: everything from an empty list of films to a published version, without the command line."""

from pathlib import Path

import pytest

from tests.tui.hands import PilotHands
from tests.tui.journey import Journey, write_suite


@pytest.fixture
def films(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where films lie; jobs see the example plugin only, which is quick."""
    monkeypatch.setenv("ASSETFORGE_PLUGINS", "example")
    return tmp_path / "projects"


async def test_from_nothing_to_a_published_version(films, program, make_png, tmp_path):
    for at in range(30):
        picture = make_png(tmp_path / "stills" / f"still {at:02d}.png", seed=at, size=(96, 64))
        if at % 5:
            picture.with_suffix(".txt").write_text(f"coat teh outfit, place {at}")
    suite = write_suite(tmp_path, "example-linear", steps=1, cfg=1.0, width=64, height=64)
    async with program().run_test(size=(120, 40), notifications=True) as pilot:
        walk = Journey(PilotHands(pilot), films / "night-harbour", kind="costume", asset="coat")
        await walk.make_the_film()
        await walk.add_the_asset("coatx", "outfit")
        await walk.take_a_small_suite(suite)
        await walk.import_pictures(tmp_path / "stills", 30)
        await walk.fix_captions("teh", "the", "coatx at night, from behind")
        await walk.freeze(27, 3)
        await walk.train(1, 20)
        await walk.to_the_version(1)
        print(pilot.app.screen, walk.seconds)
        await walk.compare(1, "the bare base")
        await walk.reject(1, "the collar is wrong")
        await walk.back_to_the_versions()
        await walk.train(2, 30)
        await walk.to_the_version(2)
        await walk.compare(2, "the bare base")
        await walk.approve(2, "the collar is right now")
        await walk.back_to_the_versions()
        file = await walk.publish(2)
        assert file.is_file()
        print(walk.seconds)
