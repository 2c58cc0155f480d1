"""Half cells, thumbnails and differences: exact colours, every kind of picture, damaged files, order and memory."""

import io
import random
import re
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from assetforge.paths import ProjectPaths
from assetforge.store.blobs import BlobStore
from assetforge.store.thumbs import ThumbStore
from assetforge.tui.images.difference import blended, difference_map
from assetforge.tui.images.escapes import MOST_PLACEHOLDERS, new_number, placeholder_strips, send_picture, sixel_lines
from assetforge.tui.images.halfcells import fit_box, flattened, halfcell_strips
from assetforge.tui.images.thumbnails import Thumbnails, broken_strips

GROUND = (18, 16, 16)
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 128, 0), (0, 0, 255), (255, 255, 255)


def cells(strips) -> list[list[tuple[str, tuple | None, tuple | None]]]:
    """Every cell as character, colour and ground."""
    rows = []
    for strip in strips:
        row = []
        for text, style, _ in strip:
            colour = tuple(style.color.triplet) if style is not None and style.color else None
            ground = tuple(style.bgcolor.triplet) if style is not None and style.bgcolor else None
            row += [(char, colour, ground) for char in text]
        rows.append(row)
    return rows


def pixels(strips) -> list[list[tuple[int, int, int]]]:
    """What a terminal would show, two rows of pixels for a row of cells."""
    shown = []
    for row in cells(strips):
        shown.append([ground if char == " " else colour for char, colour, ground in row])
        shown.append([ground for _, _, ground in row])
    return shown


def noise(size: tuple[int, int], seed: int = 0, mode: str = "RGB") -> Pillow.Image:
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Pillow.fromarray(values).convert(mode)


class TestHalfcells:
    def test_every_pixel_has_its_exact_colour(self):
        picture = Pillow.new("RGB", (2, 4))
        picture.putdata([RED, GREEN, BLUE, WHITE, RED, RED, RED, RED])
        strips = halfcell_strips(picture, 2, 2)
        assert cells(strips) == [
            [("▀", RED, BLUE), ("▀", GREEN, WHITE)],
            [(" ", None, RED), (" ", None, RED)],
        ]
        assert len(strips[1]) == 1  # one segment for a run

    def test_a_wide_picture_stands_in_the_middle(self):
        shown = pixels(halfcell_strips(Pillow.new("RGB", (4, 2), RED), 4, 3, ground=GROUND))
        assert [row[0] for row in shown] == [GROUND, GROUND, RED, RED, GROUND, GROUND]

    def test_a_high_picture_stands_in_the_middle(self):
        shown = pixels(halfcell_strips(Pillow.new("RGB", (2, 4), RED), 6, 2, ground=GROUND))
        assert shown[0] == [GROUND, GROUND, RED, RED, GROUND, GROUND]

    def test_what_is_transparent_shows_the_ground(self):
        picture = Pillow.new("RGBA", (2, 2), (255, 0, 0, 0))
        picture.putpixel((0, 0), (0, 0, 255, 255))
        assert pixels(halfcell_strips(picture, 2, 1, ground=GROUND)) == [[BLUE, GROUND], [GROUND, GROUND]]

    def test_transparency_of_a_palette(self):
        picture = Pillow.new("P", (2, 2), 0)
        picture.putpalette([255, 0, 0, 0, 0, 255])
        picture.putpixel((0, 0), 1)
        picture.info["transparency"] = 0
        assert pixels(halfcell_strips(picture, 2, 1, ground=GROUND))[0] == [BLUE, GROUND]

    def test_tiny_pictures_are_enlarged_into_hard_squares(self):
        picture = Pillow.new("RGB", (2, 2))
        picture.putdata([RED, GREEN, BLUE, WHITE])
        shown = pixels(halfcell_strips(picture, 8, 4))
        assert {colour for row in shown for colour in row} == {RED, GREEN, BLUE, WHITE}
        assert shown[0] == [RED] * 4 + [GREEN] * 4

    @pytest.mark.parametrize(
        "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "I;16"]
    )
    @pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (37, 23)])
    def test_every_mode_and_shape(self, mode, size):
        if mode == "I;16":
            picture = Pillow.fromarray(np.full((size[1], size[0]), 0x8000, dtype=np.uint16))
        elif mode == "LA":
            picture = noise(size).convert("L").convert("LA")
        elif mode == "LAB":
            picture = Pillow.frombytes("LAB", size, bytes(size[0] * size[1] * 3))
        else:
            picture = noise(size).convert("L").convert(mode) if mode in "IF" else noise(size, mode=mode)
        strips = halfcell_strips(picture, 11, 5)
        assert [strip.cell_length for strip in strips] == [11] * 5
        assert [len(strip.text) for strip in strips] == [11] * 5

    def test_sixteen_bits_keep_their_brightness(self):
        picture = Pillow.fromarray(np.full((4, 4), 0x8000, dtype=np.uint16))
        assert pixels(halfcell_strips(picture, 4, 2))[0][0] == (128, 128, 128)

    def test_cmyk_has_its_colours(self):
        picture = Pillow.new("CMYK", (4, 4), (0, 255, 255, 0))
        red, green, blue = pixels(halfcell_strips(picture, 4, 2))[0][0]
        assert red > 200
        assert max(green, blue) < 60

    def test_a_very_long_picture_keeps_a_line(self):
        shown = pixels(halfcell_strips(Pillow.new("RGB", (20_000, 10), RED), 28, 14, ground=GROUND))
        lines = [row for row in shown if RED in row]
        assert len(lines) == 1
        assert lines[0] == [RED] * 28

    def test_no_room(self):
        assert halfcell_strips(noise((4, 4)), 0, 3)[0].cell_length == 0
        assert halfcell_strips(noise((4, 4)), 3, 0) == []

    def test_shades_without_colours(self):
        picture = Pillow.new("L", (5, 2))
        picture.putdata([0, 60, 120, 180, 255] * 2)
        (strip,) = halfcell_strips(picture, 5, 1, colours=False)
        assert strip.text == " ░▒▓█"
        assert all(style is None for _, style, _ in strip)

    def test_a_tile_is_quick(self):
        picture = noise((256, 192)).resize((256, 192))
        halfcell_strips(picture, 28, 14)
        taken = []
        for _ in range(15):
            start = time.perf_counter()
            halfcell_strips(picture, 28, 14)
            taken.append(time.perf_counter() - start)
        # 2 to 3 ms on one slow core that is busy besides; the rest is for worse ones.
        assert statistics.median(taken) < 0.012

    @pytest.mark.parametrize(
        ("image", "box", "expected"),
        [
            ((100, 100), (20, 10), (20, 10)),
            ((200, 100), (20, 10), (20, 5)),
            ((100, 200), (20, 10), (10, 10)),
            ((1, 10_000), (20, 10), (1, 10)),
            ((10_000, 1), (20, 10), (20, 1)),
            ((3, 2), (1, 1), (1, 1)),
        ],
    )
    def test_fit_box(self, image, box, expected):
        assert fit_box(image, box) == expected

    def test_fit_box_knows_the_cells_of_the_terminal(self):
        assert fit_box((100, 100), (20, 20), cell_aspect=1.0) == (20, 20)

    def test_flattened_gives_plain_colours(self):
        assert flattened(Pillow.new("LA", (1, 1), (10, 0)), GROUND).getpixel((0, 0)) == GROUND


def painted(sequence: str, width: int, height: int) -> np.ndarray:
    """The pixels that a sixel sequence paints; black where it paints none."""
    body = sequence[sequence.index("q") + 1 : -2]
    pixels, palette = np.zeros((height, width, 3), dtype=np.uint8), {}
    x = y = colour = 0
    for token in re.findall(r'"[\d;]+|#[\d;]+|!\d+[?-~]|[$-]|[?-~]', body):
        if token[0] == "#":
            colour, *rest = map(int, token[1:].split(";"))
            if rest:
                palette[colour] = [round(part * 2.55) for part in rest[1:]]
        elif token == "$":
            x = 0
        elif token == "-":
            x, y = 0, y + 6
        elif token[0] != '"':
            count, bits = (int(token[1:-1]) if token[0] == "!" else 1), ord(token[-1]) - 63
            for row in range(6):
                if bits >> row & 1:
                    pixels[y + row, x : x + count] = palette[colour]
            x += count
    return pixels


class TestEscapes:
    def test_the_marks_are_those_that_others_use(self):
        from textual_image.renderable import tgp

        known = tgp._NUMBER_TO_DIACRITIC
        lines = placeholder_strips(0x123456, MOST_PLACEHOLDERS, 2, GROUND)
        assert [ord(char) for char in lines[1].text[2::3]] == list(known)
        assert {ord(char) for char in lines[1].text[1::3]} == {known[1]}

    def test_placeholders_are_cells_that_can_be_cut(self):
        (line,) = placeholder_strips(0x123456, 20, 1, GROUND)
        assert line.cell_length == 20
        assert sum(segment.cell_length for segment in line) == 20
        assert line.crop(3, 9).text == line.text[9:27]
        assert tuple(next(iter(line)).style.color.triplet) == (0x12, 0x34, 0x56)

    def test_numbers_are_whole_colours(self):
        numbers = [new_number() for _ in range(1000)]
        assert len(set(numbers)) == 1000
        assert all(65536 <= number < 1 << 24 for number in numbers)

    def test_what_is_sent_is_the_picture(self):
        import base64

        picture = noise((64, 48))
        messages = re.findall("\x1b_G([^;]*);([^\x1b]*)\x1b\\\\", send_picture(70_000, picture, 8, 3))
        assert "i=70000,c=8,r=3" in messages[0][0]
        assert [("m=1" in head) for head, _ in messages] == [True] * (len(messages) - 1) + [False]
        assert max(len(data) for _, data in messages) <= 4096
        sent = Pillow.open(io.BytesIO(base64.b64decode("".join(data for _, data in messages))))
        assert sent.tobytes() == picture.tobytes()

    def test_sixels_are_a_sequence_for_each_line(self):
        lines = sixel_lines(noise((60, 80)), 20)
        assert len(lines) == 4
        for line in lines:
            assert line.startswith('\x1bP0;1;0q"1;1;60;20')
            assert line.endswith("\x1b\\")

    def test_sixels_show_the_picture(self):
        picture = Pillow.new("RGB", (30, 40), (51, 102, 153))
        picture.paste((255, 0, 0), (3, 7, 20, 31))
        shown = np.vstack([painted(line, 30, 20) for line in sixel_lines(picture, 20)])
        assert np.abs(shown.astype(int) - np.asarray(picture).astype(int)).max() <= 3  # sixels count in hundredths


def encoded(picture: Pillow.Image, kind: str = "PNG", **how) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **how)
    return buffer.getvalue()


@pytest.fixture
def film(tmp_path: Path) -> ProjectPaths:
    paths = ProjectPaths(tmp_path / "film")
    paths.private.mkdir(parents=True)
    return paths


@pytest.fixture
def put(film: ProjectPaths) -> Callable[[bytes], str]:
    return BlobStore(film.blobs).put_bytes


class Called:
    """Stands for the UI thread: what is to be called there, in order."""

    def __init__(self) -> None:
        self._arrived = threading.Condition()
        self.waiting: list[Callable[[], None]] = []
        self.done = 0

    def __call__(self, function: Callable[[], None]) -> None:
        with self._arrived:
            self.waiting.append(function)
            self._arrived.notify_all()

    def run(self, count: int, timeout: float = 10.0) -> None:
        """Wait for so many calls, and make them."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.waiting) >= count, timeout)
            functions, self.waiting = self.waiting, []
        for function in functions:
            function()
            self.done += 1


@pytest.fixture
def called() -> Called:
    return Called()


@pytest.fixture
def thumbnails(film: ProjectPaths, called: Called) -> Iterator[Thumbnails]:
    made = Thumbnails(film, called)
    yield made
    made.close()


class TestThumbnails:
    def test_a_picture_comes_and_stays(self, thumbnails, called, put):
        sha256 = put(encoded(Pillow.new("RGB", (64, 64), RED)))
        told = []
        assert thumbnails.strips(sha256, 8, 4) is None
        thumbnails.want(sha256, 8, 4, lambda: told.append(1))
        called.run(1)
        assert told == [1]
        assert {colour for row in pixels(thumbnails.strips(sha256, 8, 4)) for colour in row} == {RED}
        thumbnails.want(sha256, 8, 4, lambda: told.append(2))
        called.run(1)
        assert told == [1, 2]

    def test_a_small_render_needs_no_thumbnail(self, thumbnails, called, put, film):
        picture = noise((64, 64))
        sha256 = put(encoded(picture))
        thumbnails.want(sha256, 64, 32, lambda: None)
        called.run(1)
        assert np.array_equal(np.array(pixels(thumbnails.strips(sha256, 64, 32))), np.asarray(picture))
        assert not film.thumbs.exists()

    def test_a_large_picture_goes_through_its_thumbnail(self, thumbnails, called, put, film):
        sha256 = put(encoded(noise((600, 400)), "PNG"))
        thumbnails.want(sha256, 28, 14, lambda: None)
        called.run(1)
        assert ThumbStore(film.thumbs).path(sha256).is_file()
        assert len(thumbnails.strips(sha256, 28, 14)) == 14

    def test_a_damaged_thumbnail_costs_nothing_but_time(self, thumbnails, called, put, film):
        sha256 = put(encoded(Pillow.merge("RGB", [noise((400, 400), mode="L")] * 3)))
        ThumbStore(film.thumbs).put(sha256, b"\xff\xd8\xff\xe0 no thumbnail at all")
        thumbnails.want(sha256, 20, 10, lambda: None)
        called.run(1)
        assert "unreadable" not in "".join(strip.text for strip in thumbnails.strips(sha256, 20, 10))

    def test_what_is_missing_or_damaged_says_so(self, thumbnails, called, put):
        whole = encoded(noise((600, 400)), "JPEG")
        small = encoded(noise((40, 40)))
        lost = [
            "0" * 64,
            put(whole[: len(whole) // 2]),
            put(small[: len(small) // 2]),
            put(b""),
            put(b"no picture"),
            "odd name",
        ]
        for sha256 in lost:
            thumbnails.want(sha256, 20, 5, lambda: None)
        called.run(1)
        deadline = time.monotonic() + 10
        while any(thumbnails.strips(one, 20, 5) is None for one in lost) and time.monotonic() < deadline:
            time.sleep(0.01)
        for sha256 in lost:
            shown = thumbnails.strips(sha256, 20, 5)
            assert [strip.cell_length for strip in shown] == [20] * 5
            assert "✕ unreadable" in "".join(strip.text for strip in shown)
            assert thumbnails.load(sha256, 100) is None
            assert thumbnails.picture(sha256, 100).size == (100, 100)
            assert thumbnails.pixels(sha256) is None or sha256 in lost[1:3]

    def test_the_newest_wanted_comes_first_and_all_come(self, film, called, put):
        gate, order = threading.Event(), []
        thumbnails = Thumbnails(film, called, threads=1)
        draw = thumbnails._draw

        def slow(place, ground):
            gate.wait(10)
            order.append(place[0])
            return draw(place, ground)

        thumbnails._draw = slow
        names = [put(encoded(noise((8, 8), seed))) for seed in range(5)]
        thumbnails.want(names[0], 4, 2, lambda: None)
        while not thumbnails._loading:
            time.sleep(0.001)
        for sha256 in names[1:]:
            thumbnails.want(sha256, 4, 2, lambda: None)
        thumbnails.want(names[1], 4, 2, lambda: None)  # again: now the newest
        gate.set()
        called.run(6)
        assert order == [names[0], names[1], names[4], names[3], names[2]]
        assert called.done == 6
        thumbnails.close()

    def test_what_is_skipped_is_never_told(self, film, called, put):
        gate, told = threading.Event(), []
        thumbnails = Thumbnails(film, called, threads=1)
        draw = thumbnails._draw
        thumbnails._draw = lambda place, ground: (gate.wait(10), draw(place, ground))[1]
        names = [put(encoded(noise((8, 8), seed))) for seed in range(4)]
        for sha256 in names:
            thumbnails.want(sha256, 4, 2, lambda sha256=sha256: told.append(sha256))
        while not thumbnails._loading:
            time.sleep(0.001)
        (loading,) = (place[0] for place in thumbnails._loading)
        kept = next(one for one in names if one != loading)
        thumbnails.skip({(kept, 4, 2)})
        gate.set()
        called.run(2)
        assert set(told) == {loading, kept}
        time.sleep(0.05)
        assert len(told) == 2
        thumbnails.close()

    def test_memory_is_bounded_and_the_oldest_goes(self, film, called, put):
        thumbnails = Thumbnails(film, called, memory=100_000)
        names = [put(encoded(noise((32, 32), seed))) for seed in range(8)]
        for sha256 in names:
            thumbnails.want(sha256, 28, 14, lambda: None)
            called.run(1)
        there = [sha256 for sha256 in names if thumbnails.strips(sha256, 28, 14) is not None]
        assert thumbnails.used <= 100_000
        assert there == names[-len(there) :]
        assert 1 <= len(there) < 8
        thumbnails.close()

    def test_another_ground_draws_everything_anew(self, thumbnails, called, put):
        sha256 = put(encoded(Pillow.new("RGB", (8, 2), RED)))
        thumbnails.want(sha256, 8, 4, lambda: None)
        called.run(1)
        thumbnails.ground = WHITE
        assert thumbnails.strips(sha256, 8, 4) is None
        thumbnails.want(sha256, 8, 4, lambda: None)
        called.run(1)
        assert pixels(thumbnails.strips(sha256, 8, 4))[0][0] == WHITE

    def test_closing_ends_the_threads_and_tells_nobody(self, film, called, put):
        thumbnails = Thumbnails(film, called)
        names = [put(encoded(noise((8, 8), seed))) for seed in range(4)]
        for sha256 in names:
            thumbnails.want(sha256, 4, 2, lambda: None)
        thumbnails.close()
        for thread in thumbnails._threads:
            thread.join(5)
            assert not thread.is_alive()
        thumbnails.want(names[0], 4, 2, lambda: None)
        assert thumbnails.strips(names[0], 4, 2) is None

    def test_a_program_that_is_ending_does_no_harm(self, film, put):
        def gone(function):
            raise RuntimeError("Event loop is closed")

        thumbnails = Thumbnails(film, gone)
        sha256 = put(encoded(noise((8, 8))))
        thumbnails.want(sha256, 4, 2, lambda: None)
        deadline = time.monotonic() + 5
        while thumbnails.strips(sha256, 4, 2) is None and time.monotonic() < deadline:
            time.sleep(0.005)
        assert thumbnails.strips(sha256, 4, 2) is not None
        thumbnails.close()

    def test_whole_pictures_for_workers(self, thumbnails, put):
        sha256 = put(encoded(noise((300, 200)), "JPEG", quality=95))
        assert thumbnails.load(sha256, 1000).size == (300, 200)
        assert thumbnails.load(sha256, 150).size == (150, 100)
        assert thumbnails.pixels(sha256) == (300, 200)

    def test_turned_pictures_are_told_upright(self, thumbnails, put):
        exif = Pillow.Exif()
        exif[0x0112] = 6
        sha256 = put(encoded(noise((30, 20)), "JPEG", exif=exif.tobytes()))
        assert thumbnails.pixels(sha256) == (20, 30)
        assert thumbnails.load(sha256, 100).size == (20, 30)

    def test_many_wants_from_a_scrolling_hand(self, film, called, put):
        thumbnails = Thumbnails(film, called)
        names = [put(encoded(noise((24, 24), seed))) for seed in range(30)]
        dice, told = random.Random(1), []
        for _ in range(40):
            view = {(one, 6, 3) for one in dice.sample(names, 6)}
            thumbnails.skip(view)
            for place in view:
                thumbnails.want(*place, lambda place=place: told.append(place))
        for place in view:
            deadline = time.monotonic() + 10
            while thumbnails.strips(*place) is None and time.monotonic() < deadline:
                time.sleep(0.005)
            assert thumbnails.strips(*place) is not None
        thumbnails.close()

    @pytest.mark.parametrize(("width", "word"), [(30, "✕ unreadable"), (10, "unreadable"), (5, "✕"), (1, "✕")])
    def test_the_broken_tile_fits_anywhere(self, width, word):
        tile = broken_strips(width, 3)
        assert [strip.cell_length for strip in tile] == [width] * 3
        assert tile[1].text.strip() == word


class TestDifference:
    def test_equal_pictures_are_dark(self):
        found = difference_map(noise((20, 20)), noise((20, 20)))
        assert (found.gain, found.mean, found.changed) == (1.0, 0.0, 0.0)
        assert found.picture.getcolors() == [(400, GROUND)]

    def test_a_small_difference_is_seen_where_it_is(self):
        a = Pillow.new("RGB", (40, 40), (100, 100, 100))
        b = a.copy()
        b.paste((112, 112, 112), (10, 10, 20, 20))
        found = difference_map(a, b)
        assert found.gain == 16.0
        assert found.picture.getpixel((0, 0)) == GROUND
        red, green, blue = found.picture.getpixel((15, 15))
        assert red > green > blue
        assert red > 200
        assert found.changed == 100 / 1600

    def test_colour_alone_counts(self):
        a, b = Pillow.new("RGB", (8, 8), (150, 100, 100)), Pillow.new("RGB", (8, 8), (90, 130, 100))
        assert difference_map(a, b).mean > 0.05

    def test_the_largest_difference_is_white(self):
        a, b = Pillow.new("L", (8, 8), 0), Pillow.new("L", (8, 8), 255)
        found = difference_map(a, b)
        assert min(found.picture.getpixel((4, 4))) > 230
        assert found.gain == 1.0

    def test_sizes_and_modes_that_differ(self):
        found = difference_map(noise((32, 20), mode="CMYK"), noise((64, 64), mode="P"))
        assert found.picture.size == (32, 20)
        assert blended(noise((32, 20), mode="RGBA"), noise((9, 9), mode="L")).size == (32, 20)

    def test_blended(self):
        a, b = Pillow.new("RGB", (2, 2), (0, 0, 0)), Pillow.new("RGB", (2, 2), (200, 100, 50))
        assert blended(a, b).getpixel((0, 0)) == (100, 50, 25)
        assert blended(a, b, 2.0).getpixel((0, 0)) == (200, 100, 50)
