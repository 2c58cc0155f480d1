"""The film's pictures as coloured cells, loaded in threads of their own and kept while there is room."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from PIL import Image as Pillow
from rich.color import Color
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from assetforge.errors import AssetForgeError
from assetforge.paths import ProjectPaths
from assetforge.store.blobs import BlobStore
from assetforge.store.imaging import THUMBNAIL_SIDE, load_srgb
from assetforge.store.pixels import shrink
from assetforge.store.thumbs import ThumbStore
from assetforge.tui.images.halfcells import GROUND, Rgb, halfcell_strips

__all__ = ["UNREADABLE", "Thumbnails", "broken_strips"]

UNREADABLE = "unreadable"

_MEMORY = 6 << 20
"""As escapes a tile of 16 x 8 cells takes 8 KB, so that these are some screens full of them at any size."""

_THREADS = 2
_LINE_BYTES, _CELL_BYTES = 250, 45
"""What a line takes in memory once it was shown, and every cell of it: six bytes of colours, and escapes that name them."""

_SMALL_FILE = 48 << 10
"""A picture in a file of at most so many bytes is decoded as quickly as a thumbnail of it, and without the thumbnail's loss."""

_BROKEN_GLYPH = "✕"
_DECODE_ERRORS = (AssetForgeError, OSError, ValueError, SyntaxError, MemoryError)

Place = tuple[str, int, int]


class Thumbnails:
    """Pictures of one film; the newest wanted is loaded first.

    All methods but :meth:`load`, :meth:`picture` and :meth:`pixels` return at once; those three are for worker threads.

    Args:
        paths: Where the film is.
        call_soon: Has a function called on the UI thread, from any other.
        ground: The colour around pictures.
        colours: Without them, cells are shades.
        console: The program's; with it, the escapes of colours are worked out in the threads too, and not while a frame is drawn.
        memory: How many bytes of cells are kept, about.
        threads: How many pictures are loaded at once.
    """

    def __init__(
        self,
        paths: ProjectPaths,
        call_soon: Callable[[Callable[[], None]], None],
        *,
        ground: Rgb = GROUND,
        colours: bool = True,
        console: Console | None = None,
        memory: int = _MEMORY,
        threads: int = _THREADS,
    ) -> None:
        self._blobs = BlobStore(paths.blobs)
        self._thumbs = ThumbStore(paths.thumbs)
        self._call_soon = call_soon
        self._ground = ground
        self._colours = colours
        self._console = console
        self._memory = memory
        self._most_threads = threads
        self._kept: OrderedDict[Place, tuple[Sequence[Strip], int]] = OrderedDict()
        self._used = 0
        self._queue: OrderedDict[Place, list[Callable[[], None]]] = OrderedDict()
        self._loading: dict[Place, list[Callable[[], None]]] = {}
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._closed = False

    @property
    def ground(self) -> Rgb:
        """The colour around pictures; setting another one lets go of all cells."""
        return self._ground

    @ground.setter
    def ground(self, ground: Rgb) -> None:
        with self._changed:
            if ground != self._ground:
                self._ground = ground
                self._kept.clear()
                self._used = 0

    @property
    def used(self) -> int:
        """Bytes that the kept cells take, about."""
        return self._used

    def strips(self, sha256: str, width: int, height: int) -> Sequence[Strip] | None:
        """A picture in exactly so many cells; ``None`` when it is not loaded. A picture that cannot be read is a tile that says so."""
        place = (sha256, width, height)
        with self._changed:
            kept = self._kept.get(place)
            if kept is None:
                return None
            self._kept.move_to_end(place)
            return kept[0]

    def want(self, sha256: str, width: int, height: int, ready: Callable[[], None]) -> None:
        """Load a picture in exactly so many cells; it goes to the front of those that wait.

        Args:
            sha256: The blob.
            width: Cells, at least 1.
            height: Cells, at least 1.
            ready: Called on the UI thread once, when :meth:`strips` has it; never when it is skipped or everything is closed before.
        """
        place = (sha256, width, height)
        with self._changed:
            if self._closed:
                return
            if place in self._kept:
                self._tell([ready])
            elif place in self._loading:
                self._loading[place].append(ready)
            else:
                self._queue.setdefault(place, []).append(ready)
                self._queue.move_to_end(place)
                self._start_thread()
                self._changed.notify()

    def skip(self, wanted: Collection[Place]) -> None:
        """Only these are still wanted: whatever else waits is forgotten without a call."""
        with self._changed:
            for place in [place for place in self._queue if place not in wanted]:
                del self._queue[place]

    def load(self, sha256: str, side: int) -> Pillow.Image | None:
        """A picture of at most ``side`` pixels on its longer side, upright, opaque, sRGB; ``None`` when it is missing or damaged.

        Blocks while it is read; call it from a worker thread.
        """
        with suppress(*_DECODE_ERRORS):
            return shrink(self._load(sha256, side), side)
        return None

    def picture(self, sha256: str, side: int) -> Pillow.Image:
        """As :meth:`load`; what cannot be read is a dark square with a cross."""
        return self.load(sha256, side) or _broken_picture(max(8, side), self._ground)

    def pixels(self, sha256: str) -> tuple[int, int] | None:
        """Width and height of the stored picture, from its head alone; ``None`` when it cannot be told. Reads the file."""
        with suppress(*_DECODE_ERRORS), Pillow.open(self._blobs.path(sha256)) as picture:
            turned = picture.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            return (picture.height, picture.width) if turned else picture.size
        return None

    def close(self) -> None:
        """Forget what waits and let the threads end; what they are loading is not delivered."""
        with self._changed:
            self._closed = True
            self._queue.clear()
            self._loading.clear()
            self._kept.clear()
            self._used = 0
            self._changed.notify_all()

    def _load(self, sha256: str, side: int) -> Pillow.Image:
        """At least ``side`` pixels where the picture has them, and not many more."""
        name = f"blob {sha256[:12]}"
        if side <= THUMBNAIL_SIDE and self._blobs.size(sha256) > _SMALL_FILE:
            path = self._thumbs.ensure(sha256, self._blobs)
            try:
                # A thumbnail is as it should be; only its decoding has to be asked for.
                thumbnail = Pillow.open(path, formats=("JPEG",))
                thumbnail.draft("RGB", (side, side))
                return thumbnail.convert("RGB")
            except (OSError, ValueError, SyntaxError):
                # A damaged thumbnail is only a cache's; the picture itself may be well.
                pass
        return load_srgb(self._blobs.read_bytes(sha256), name=name, longest=side)

    def _start_thread(self) -> None:
        if len(self._threads) < self._most_threads and len(self._threads) < len(self._queue) + len(self._loading):
            number = len(self._threads) + 1
            thread = threading.Thread(target=self._work, name=f"pictures-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        while self._load_next():
            pass

    def _load_next(self) -> bool:
        """Wait for a picture that is wanted and load it; false once everything is closed. A call of its own, so that nobody who waited for a picture is kept until the next."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            if self._closed:
                return False
            place, ready = self._queue.popitem(last=True)
            self._loading[place] = ready
            ground = self._ground
        try:
            strips = self._draw(place, ground)
        except Exception:  # noqa: BLE001
            # A thread that dies would leave every later picture unloaded.
            strips = broken_strips(*place[1:], ground)
        with self._changed:
            waiting = self._loading.pop(place, [])
            if self._closed:
                return False
            if ground == self._ground:
                self._keep(place, strips)
                self._tell(waiting)
            elif waiting:
                # The ground changed meanwhile: draw it again.
                self._queue.setdefault(place, []).extend(waiting)
        return True

    def _draw(self, place: Place, ground: Rgb) -> Sequence[Strip]:
        sha256, width, height = place
        # Two pixels a cell would do; four leave something to average where the picture is cut from a thumbnail.
        try:
            picture = self._load(sha256, max(width, height * 2) * 2)
        except _DECODE_ERRORS:
            return broken_strips(width, height, ground)
        strips = halfcell_strips(picture, width, height, ground=ground, colours=self._colours)
        if self._console is not None:
            for strip in strips:
                strip.render(self._console)
        return strips

    def _keep(self, place: Place, strips: Sequence[Strip]) -> None:
        _, width, height = place
        size = height * (_LINE_BYTES + _CELL_BYTES * width)
        _, before = self._kept.pop(place, ((), 0))
        self._kept[place] = (strips, size)
        self._used += size - before
        while self._used > self._memory and len(self._kept) > 1:
            _, (_, gone) = self._kept.popitem(last=False)
            self._used -= gone

    def _tell(self, ready: Collection[Callable[[], None]]) -> None:
        for one in ready:
            # The program may be ending: then nobody looks any more.
            with suppress(RuntimeError):
                self._call_soon(one)


def broken_strips(width: int, height: int, ground: Rgb = GROUND, word: str = UNREADABLE) -> list[Strip]:
    """The tile of a picture that is missing or damaged: a cross and a word where there is room, on the ground.

    Args:
        width: Cells, at least 1.
        height: Cells, at least 1.
        ground: The colour of the tile.
        word: What is said; printable, one cell a character.
    """
    style = Style(color=_colour(_faint(ground)), bgcolor=_colour(ground))
    label = next((text for text in (f"{_BROKEN_GLYPH} {word}", word, _BROKEN_GLYPH) if len(text) <= width), "")
    blank = Strip([Segment(" " * width, style)], width)
    lines = [blank] * height
    if label and height:
        lines[(height - 1) // 2] = Strip([Segment(label.center(width), style)], width)
    return lines


def _faint(ground: Rgb) -> Rgb:
    """Half way from the ground to what is read on it."""
    other = 255 if sum(ground) < 384 else 0
    red, green, blue = ((value + other) // 2 for value in ground)
    return red, green, blue


def _colour(rgb: Rgb) -> Color:
    return Color.from_rgb(*rgb)


def _broken_picture(side: int, ground: Rgb) -> Pillow.Image:
    from PIL import ImageDraw

    picture = Pillow.new("RGB", (side, side), ground)
    inner, width = side // 3, max(1, side // 64)
    pen, colour = ImageDraw.Draw(picture), _faint(ground)
    pen.line((inner, inner, side - inner, side - inner), fill=colour, width=width)
    pen.line((inner, side - inner, side - inner, inner), fill=colour, width=width)
    return picture
