"""The picture widget under Textual's pilot: real blobs, real frames."""

import io
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image as Pillow
from textual import events
from textual.app import App, ComposeResult
from textual.containers import Horizontal
from textual.pilot import Pilot
from textual.widgets import Static

from assetforge.paths import ProjectPaths
from assetforge.store.blobs import BlobStore
from assetforge.tui.images.protocol import TerminalPictures, replay
from assetforge.tui.images.thumbnails import Thumbnails
from assetforge.tui.widgets.picture import Picture

NASTY = "a[/b] [red]\x1b[31m\nsecond line\u202e مرحبا 🎬 名前" + " long" * 40


def still(colour: tuple[int, int, int], size: tuple[int, int] = (320, 200), kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Pillow.new("RGB", size, colour).save(buffer, kind)
    return buffer.getvalue()


def photograph(seed: int, size: tuple[int, int] = (512, 512)) -> Pillow.Image:
    values = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    smooth = np.asarray(Pillow.fromarray(values).resize(size, Pillow.Resampling.BICUBIC)).astype(int)
    return Pillow.fromarray(
        np.clip(smooth + np.random.default_rng(seed).normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)
    )


class Room(App[None]):
    """One or two pictures beside a line of text."""

    CSS = "Static { height: 1; }"

    def __init__(self, paths: ProjectPaths, protocol: str = "halfcell", many: int = 1, captioned: bool = True) -> None:
        super().__init__()
        self.paths, self.protocol, self.many, self.captioned = paths, protocol, many, captioned
        self.pictures = Thumbnails(paths, self.call_soon)

    def call_soon(self, function: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(function)

    def compose(self) -> ComposeResult:
        yield Static("above")
        with Horizontal():
            for _ in range(self.many):
                yield Picture(self.pictures, TerminalPictures(self.protocol, 10, 20), captioned=self.captioned)
        yield Static("below")

    @property
    def picture(self) -> Picture:
        return self.query(Picture).first()

    def on_unmount(self) -> None:
        self.pictures.close()


@pytest.fixture
def film(tmp_path: Path) -> ProjectPaths:
    paths = ProjectPaths(tmp_path / "film")
    paths.private.mkdir(parents=True)
    return paths


@pytest.fixture
def put(film: ProjectPaths) -> Callable[[bytes], str]:
    return BlobStore(film.blobs).put_bytes


@asynccontextmanager
async def opened(app: Room, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Pilot[None]]:
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        yield pilot


async def until(pilot: Pilot[None], true: Callable[[], object], timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline, "it never came"
        await pilot.pause(0.005)
    await pilot.pause()


def shown(picture: Picture) -> list[str]:
    return [strip.text for strip in picture.render_lines(picture.size.region)]


def grounds(picture: Picture) -> set[tuple[int, int, int]]:
    strips = picture.render_lines(picture.size.region)
    return {tuple(style.bgcolor.triplet) for strip in strips for _, style, _ in strip if style and style.bgcolor}


async def test_a_picture_of_the_film(film, put):
    red = put(still((200, 10, 10)))
    async with opened(Room(film)) as pilot:
        picture = pilot.app.picture
        picture.show(red, "mara/ref/3f9a1c")
        await until(pilot, lambda: picture.showing == red)
        lines = shown(picture)
        assert lines[-1].strip() == "mara/ref/3f9a1c"
        assert (200, 10, 10) in grounds(picture)
        assert [len(line) for line in lines] == [80] * 22


async def test_the_picture_before_stays_until_the_next_is_there(film, put):
    red, blue = put(still((200, 10, 10))), put(still((10, 10, 200)))
    async with opened(Room(film)) as pilot:
        picture, gate = pilot.app.picture, threading.Event()
        picture.show(red, "one")
        await until(pilot, lambda: picture.showing == red)
        load = pilot.app.pictures.load
        pilot.app.pictures.load = lambda *args: (gate.wait(10), load(*args))[1]
        picture.show(blue, "two")
        await pilot.pause(0.05)
        assert picture.showing == red
        assert picture.shown_caption == "one"
        assert (200, 10, 10) in grounds(picture)
        gate.set()
        await until(pilot, lambda: picture.showing == blue)
        assert picture.shown_caption == "two"
        assert (200, 10, 10) not in grounds(picture)


async def test_only_the_last_of_many_is_put_up(film, put):
    names = [put(still((at, 10, 200))) for at in range(0, 200, 10)]
    async with opened(Room(film)) as pilot:
        picture = pilot.app.picture
        seen = []
        put_up = picture._put_up
        picture._put_up = lambda source, drawing: (seen.append(source.key), put_up(source, drawing))[1]
        for sha256 in names:
            picture.show(sha256)
        await until(pilot, lambda: picture.showing == names[-1])
        assert set(seen) <= {names[0], names[-1]}


async def test_blinking_costs_one_frame_and_no_layout(film, put, monkeypatch):
    monkeypatch.setenv("COLORTERM", "truecolor")
    names = []
    for seed in range(2):
        buffer = io.BytesIO()
        photograph(seed).save(buffer, "PNG")
        names.append(put(buffer.getvalue()))
    async with opened(Room(film), size=(120, 40)) as pilot:
        picture = pilot.app.picture
        picture.preload(*names)
        await until(pilot, lambda: all(picture.is_ready(one) for one in names))
        picture.show(names[0], "v7")
        assert picture.showing == names[0]  # at once
        await pilot.pause()
        layouts = []
        pilot.app.screen.screen_layout_refresh_signal.subscribe(pilot.app.screen, layouts.append)
        taken = []
        for at in range(1, 21):
            start = time.perf_counter()
            picture.show(names[at % 2], "v7" if at % 2 == 0 else "v6")
            pilot.app.screen._compositor.update_widgets({picture})
            update = pilot.app.screen._compositor.render_update()
            assert len(update.render_segments(pilot.app.console)) > 50_000
            taken.append(time.perf_counter() - start)
            await pilot.pause()
        assert layouts == []
        # About 5 ms on one slow core; a frame is 16.
        assert statistics.median(taken) < 0.016


async def test_another_size_is_drawn_anew(film, put):
    red = put(still((200, 10, 10)))
    async with opened(Room(film)) as pilot:
        picture = pilot.app.picture
        picture.show(red)
        await until(pilot, lambda: picture.showing == red)
        for size in ((120, 40), (40, 10), (7, 5), (2, 4), (80, 24)):
            await pilot.resize_terminal(*size)
            await until(pilot, lambda: picture.is_ready(red))
            assert {len(line) for line in shown(picture)} == {size[0]}
            assert len(picture._ready) == 1


async def test_what_cannot_be_read_says_so(film, put):
    whole = still((200, 10, 10))
    broken = put(whole[: len(whole) // 2])
    async with opened(Room(film)) as pilot:
        picture = pilot.app.picture
        for sha256 in (broken, "f" * 64, "no hash"):
            picture.show(sha256, "broken")
            await until(pilot, lambda sha256=sha256: picture.showing == sha256)
            assert "✕ unreadable" in "".join(shown(picture))


async def test_pictures_in_memory(film):
    cut = io.BytesIO(still((1, 2, 3), kind="BMP")[:2000])
    async with opened(Room(film)) as pilot:
        picture = pilot.app.picture
        for image in (photograph(1), Pillow.new("1", (1, 1)), Pillow.new("RGBA", (20_000, 10), (0, 9, 9, 99))):
            picture.show_image(image, "in memory")
            await until(pilot, lambda: picture._drawing is not None and picture._shown[0] == picture._source.key)
            assert picture.showing == ""
            assert picture._drawing.readable
        ready = len(picture._ready)
        picture.show_image(image, "in memory")
        await pilot.pause(0.05)
        assert len(picture._ready) == ready
        picture.show_image(Pillow.open(cut), "damaged")
        await until(pilot, lambda: picture.shown_caption == "damaged")
        assert "✕ unreadable" in "".join(shown(picture))


async def test_a_large_picture_never_reaches_the_screen_whole(film, put):
    large = put(still((9, 90, 9), (3840, 2160), "JPEG"))
    async with opened(Room(film)) as pilot:
        sizes = []
        load = pilot.app.pictures.load
        pilot.app.pictures.load = lambda *args: (sizes.append((found := load(*args)).size), found)[1]
        pilot.app.picture.show(large)
        await until(pilot, lambda: pilot.app.picture.showing == large)
        assert max(sizes[0]) <= 200


@pytest.mark.parametrize("protocol", ["tgp", "sixel"])
async def test_tests_and_browsers_get_half_cells(film, put, protocol):
    red = put(still((200, 10, 10)))
    async with opened(Room(film, protocol)) as pilot:
        picture = pilot.app.picture
        assert picture.protocol == "halfcell"
        picture.show(red)
        await until(pilot, lambda: picture.showing == red)


async def test_off_is_a_calm_card(film, put):
    wide = put(still((200, 10, 10), (1920, 1080)))
    async with opened(Room(film, "off")) as pilot:
        picture = pilot.app.picture
        picture.show(wide, "mara/ref/3f9a1c")
        await until(pilot, lambda: picture._pixels)
        said = [line.strip() for line in shown(picture) if line.strip()]
        assert said == ["mara/ref/3f9a1c", "1,920 x 1,080 px", "pictures are off"]
        picture.show("f" * 64, "lost")
        await until(pilot, lambda: picture._pixels == (0, 0))
        assert [line.strip() for line in shown(picture) if line.strip()] == ["lost", "pictures are off"]
        picture.show(wide, "known", pixels=(10, 20))
        assert "10 x 20 px" in "".join(shown(picture))
        picture.show_image(photograph(1), "in memory")
        assert "512 x 512 px" in "".join(shown(picture))


async def test_nothing_and_words_alone(film, put):
    red = put(still((200, 10, 10)))
    async with opened(Room(film)) as pilot:
        picture = pilot.app.picture
        assert "".join(shown(picture)).strip() == ""
        picture.show(red, "one")
        await until(pilot, lambda: picture.showing == red)
        picture.show(None, "no picture of this one yet")
        assert "".join(shown(picture)).strip() == "no picture of this one yet"
        assert picture.showing == ""
        picture.clear()
        assert "".join(shown(picture)).strip() == ""


async def test_nobodys_text_breaks_the_line(film, put):
    red = put(still((200, 10, 10)))
    async with opened(Room(film, many=2), size=(60, 20)) as pilot:
        for picture in pilot.app.query(Picture):
            picture.show(red, NASTY)
        await until(pilot, lambda: all(one.showing == red for one in pilot.app.query(Picture)))
        for picture in pilot.app.query(Picture):
            line = picture.render_lines(picture.size.region)[-1]
            assert line.cell_length == 30
            assert sum(segment.cell_length for segment in line) == 30
            assert "a[/b] [red]" in line.text
            assert "\x1b" not in line.text
            assert "\u202e" not in line.text


async def test_another_theme_is_another_ground(film, put):
    red = put(still((200, 10, 10), (20, 200)))
    async with opened(Room(film)) as pilot:
        picture = pilot.app.picture
        picture.show(red)
        await until(pilot, lambda: picture.showing == red)
        dark = picture._drawing
        pilot.app.theme = "textual-light"
        await until(pilot, lambda: picture._drawing is not dark)
        assert picture.background_colors[1].rgb in grounds(picture)
        assert dark.frame.ground not in grounds(picture)


async def test_only_so_many_stay_ready(film, put):
    names = [put(still((at, 10, 200))) for at in range(0, 200, 10)]
    async with opened(Room(film), size=(30, 12)) as pilot:
        picture = pilot.app.picture
        picture.preload(*names)
        await until(pilot, lambda: not picture._working)
        for sha256 in names:
            picture.show(sha256)
            await until(pilot, lambda sha256=sha256: picture.showing == sha256)
        assert len(picture._ready) <= 12
        assert all(picture.is_ready(one) for one in names[:11])


async def test_pictures_that_come_later(film, put):
    red = put(still((200, 10, 10)))
    async with opened(Room(film)) as pilot:
        picture = pilot.app.picture
        picture.pictures = None
        picture.show(red)
        await pilot.pause(0.05)
        assert picture.showing == ""
        picture.pictures = pilot.app.pictures
        picture.show(red)
        await until(pilot, lambda: picture.showing == red)


async def test_a_widget_that_goes_while_it_works(film, put):
    red = put(still((200, 10, 10)))
    async with opened(Room(film, many=2)) as pilot:
        gate = threading.Event()
        load = pilot.app.pictures.load
        pilot.app.pictures.load = lambda *args: (gate.wait(10), load(*args))[1]
        pilot.app.picture.show(red)
        await pilot.pause(0.05)
        await pilot.app.picture.remove()
        gate.set()
        await pilot.pause(0.1)
        pilot.app.picture.show(red)
        await until(pilot, lambda: pilot.app.picture.showing == red)


async def test_keys_typed_before_the_start_are_handed_over():
    class Keys(App[None]):
        pressed: ClassVar[list[str]] = []

        def on_key(self, event: events.Key) -> None:
            self.pressed.append(event.key)

    async with Keys().run_test() as pilot:
        replay(pilot.app, "")
        replay(pilot.app, "jG\x1b[A\x1b")
        await pilot.pause()
        assert pilot.app.pressed == ["j", "G", "up", "escape"]


def test_naming_the_widget_loads_no_picture_library():
    code = (
        "import sys, assetforge.tui.widgets.picture; "
        "print(sorted({'PIL', 'numpy', 'textual_image', 'pydantic', 'sqlalchemy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
