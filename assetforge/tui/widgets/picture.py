"""One picture, as large and as fine as the terminal allows."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar

from rich.segment import ControlType, Segment
from rich.style import Style
from textual.content import Content
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from assetforge.tui.images.frame import Drawing, Frame, Source
from assetforge.tui.images.protocol import Protocol, TerminalPictures
from assetforge.tui.session import in_thread
from assetforge.tui.words import number, plain

if TYPE_CHECKING:
    from PIL import Image as Pillow
    from rich.console import Console
    from textual.app import App

    from assetforge.tui.images.thumbnails import Thumbnails

__all__ = ["Picture", "release_pictures"]

_KEPT = 12
"""Pictures that stay ready, so that going back to one costs a frame and no more."""

_LEAST_FOR_CAPTION = 3
_OFF = "pictures are off"
_IMAGE = "image "
_image_number = count(1)


class Picture(Widget):
    """Shows one picture, whole and in the middle, with a line of text below it.

    Pictures are read, scaled and encoded in threads; the one before stays until the next is there. Switching between pictures that are ready
    (shown lately, or named to :meth:`preload`) costs one refresh and no layout.

    In a terminal with kitty's graphics a picture is text of its own kind and may be anywhere. Sixels are painted over the text: keep the widget
    out of containers that scroll. Where something covers it, beneath another screen, and on the last line of the terminal it falls back to half
    cells by itself, and so do placeholders beneath another screen. In tests and in a browser it is always half cells.

    It paints all of its region by itself: no border, padding, opacity or tint; put it into a container for the former.

    Args:
        pictures: Where blobs are loaded from; may be set later, and :meth:`show` called again then.
        terminal: What the terminal can show.
        captioned: Keep the last line for the caption. Without it, the caption is shown only where there is no picture.

    Attributes:
        pictures: Where blobs are loaded from.
    """

    DEFAULT_CSS = """
    Picture {
        width: 1fr; height: 1fr; background: $background;
        & > .picture--name { color: $foreground; }
        & > .picture--caption { color: $text-muted; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"picture--name", "picture--caption"}
    ALLOW_SELECT = False

    def __init__(
        self,
        pictures: "Thumbnails | None",
        terminal: TerminalPictures,
        *,
        captioned: bool = True,
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.pictures = pictures
        self._terminal = terminal
        self._captioned = captioned
        self._source: Source | None = None
        self._caption = ""
        self._pixels: tuple[int, int] | None = None
        self._preloads: list[Source] = []
        self._images: list[Source] = []
        self._ready: OrderedDict[tuple[str, Frame], Drawing] = OrderedDict()
        self._drawing: Drawing | None = None
        self._shown = ("", "")
        self._working = False
        self._was_covered = False

    @property
    def protocol(self) -> Protocol:
        """How pictures are really shown here."""
        asked = self._terminal.protocol
        if asked in ("off", "halfcell"):
            return asked
        if self.app.is_headless or self.app.is_web or self.app.no_color:
            return "halfcell"
        # Placeholders say by their colour which picture they mean, which fewer colours would change.
        return "halfcell" if asked == "tgp" and self.app.console.color_system != "truecolor" else asked

    @property
    def showing(self) -> str:
        """The SHA-256 of the picture that is on the screen now; empty for none, and for pictures that are no blobs."""
        key = self._shown[0]
        return "" if key.startswith(_IMAGE) else key

    @property
    def shown_caption(self) -> str:
        """The caption that is on the screen now."""
        return self._shown[1]

    def show(self, sha256: str | None, caption: str = "", *, pixels: tuple[int, int] | None = None) -> None:
        """Show a picture of the film.

        Args:
            sha256: The blob; ``None`` shows the caption alone, in the middle.
            caption: Anybody's text; on one line.
            pixels: Width and height where they are known; told when pictures are off.
        """
        self._show(Source(sha256, sha256=sha256) if sha256 else None, caption, pixels)

    def show_image(self, image: "Pillow.Image", caption: str = "") -> None:
        """Show a picture that is in memory; the same object is found ready when it is shown again.

        Args:
            image: Of any mode, at least 1 x 1 pixels; not to be changed afterwards.
            caption: Anybody's text; on one line.
        """
        self._show(self._of_image(image), caption, image.size)

    def clear(self) -> None:
        """Show nothing."""
        self._show(None, "", None)

    def preload(self, *sha256: str) -> None:
        """Have these pictures ready in this place too, and no longer those that were named before."""
        self._preloads = [Source(one, sha256=one) for one in dict.fromkeys(sha256) if one][: _KEPT - 1]
        self._begin()

    def is_ready(self, sha256: str) -> bool:
        """Whether showing it costs one refresh and no more."""
        frame = self._frame()
        return frame is not None and (sha256, frame) in self._ready

    def on_mount(self) -> None:
        """Follow the theme, whose ground pictures stand on, and the terminal, which forgets pictures when it is lent to another program."""
        self.app.theme_changed_signal.subscribe(self, lambda _theme: self.call_after_refresh(self._begin))
        self.app.app_suspend_signal.subscribe(self, lambda _app: self.release(), immediate=True)
        self.app.app_resume_signal.subscribe(self, lambda _app: self._begin())

    def on_resize(self) -> None:
        """Fit the picture anew; until it is there the old one is shown in the middle."""
        self._begin()

    def on_unmount(self) -> None:
        """Let the terminal forget what it was given; a program that has left it is too late for that, see :func:`release_pictures`."""
        # A signal keeps whoever listens until it is given next.
        for signal in (self.app.theme_changed_signal, self.app.app_suspend_signal, self.app.app_resume_signal):
            signal.unsubscribe(self)
        if self.app.is_running:
            self.release()

    def release(self) -> None:
        """Let the terminal forget what it was given; half cells stand in its place until something is shown again."""
        for place, drawing in list(self._ready.items()):
            if drawing.number:
                self._free(self._ready.pop(place))

    def render_lines(self, crop: Region) -> list[Strip]:
        """The lines of the visible part."""
        covered = self._is_covered()
        if self._was_covered and not covered:
            # What covered a part took the sixels there with it; all lines are written again.
            self.call_after_refresh(self.refresh)
        self._was_covered = covered
        lines = self._lines(real=not covered, whole=crop.x == 0 and crop.width == self.size.width)
        if self.app.no_color:
            ground = self.background_colors[1]
            for line_filter in self.get_line_filters():
                lines = [line.apply_filter(line_filter, ground) for line in lines]
        return [line.crop(crop.x, crop.right) for line in lines[crop.y : crop.bottom]]

    # what is to be shown

    def _show(self, source: Source | None, caption: str, pixels: tuple[int, int] | None) -> None:
        self._source, self._caption, self._pixels = source, plain(caption), pixels
        if source is None or self._terminal.protocol == "off":
            self._put_up(source, None)
        self._begin()

    def _of_image(self, image: "Pillow.Image") -> Source:
        known = next((source for source in self._images if source.image is image), None)
        if known is None:
            known = Source(f"{_IMAGE}{next(_image_number)}", image=image)
            self._images = [*self._images[1 - _KEPT :], known]
        return known

    def _frame(self) -> Frame | None:
        """Where a picture goes now; ``None`` where there is no room."""
        width, height = self.size
        height -= self._caption_lines(height)
        protocol = self.protocol
        if width < 1 or height < 1 or protocol == "off":
            return None
        cell = self._terminal.cell_width, self._terminal.cell_height
        return Frame(width, height, self.background_colors[1].rgb, protocol, *cell)

    def _caption_lines(self, height: int) -> int:
        return int(self._captioned and height >= _LEAST_FOR_CAPTION)

    def _begin(self) -> None:
        """Put up what is ready, and make ready what is not."""
        if not self.is_attached:
            return
        frame = self._frame()
        if frame is not None and self._source is not None:
            drawing = self._ready.get((self._source.key, frame))
            if drawing is not None:
                self._put_up(self._source, drawing)
        if not self._working and (self._missing() is not None or self._lacks_pixels()):
            self._working = True
            self.run_worker(self._work(), group="picture", exit_on_error=False)

    def _missing(self) -> tuple[Source, Frame] | None:
        """What is to be made ready next: what is to be seen before what may be."""
        frame = self._frame()
        if frame is None:
            return None
        wanted = [*([self._source] if self._source else []), *self._preloads]
        for one in wanted:
            if (one.key, frame) not in self._ready and (one.image is not None or self.pictures is not None):
                return one, frame
        return None

    def _lacks_pixels(self) -> bool:
        off = self._terminal.protocol == "off" and self._pixels is None
        return off and self._source is not None and self._source.sha256 != "" and self.pictures is not None

    async def _work(self) -> None:
        try:
            while (missing := self._missing()) is not None:
                source, frame = missing
                self._keep(source, await in_thread(_draw, source, frame, self.pictures, self.app.console))
            if self._lacks_pixels() and self._source is not None and self.pictures is not None:
                source = self._source
                pixels = await in_thread(self.pictures.pixels, source.sha256)
                if source == self._source:
                    self._pixels = pixels or (0, 0)
                    self.refresh()
        finally:
            self._working = False
        self._begin()

    def _keep(self, source: Source, drawing: Drawing) -> None:
        """A picture is ready: hand it to the terminal, let go of older ones, and put it up when it is the one that is wanted."""
        self._ready[source.key, drawing.frame] = drawing
        if drawing.message:
            self._write(drawing.message)
            drawing.message = ""
        if source == self._source and drawing.frame == self._frame():
            self._put_up(source, drawing)
        stay = {one.key for one in self._preloads}
        for place, old in list(self._ready.items()):
            of_other_place = place[1] != drawing.frame
            if old is not self._drawing and (of_other_place or (len(self._ready) > _KEPT and place[0] not in stay)):
                self._free(self._ready.pop(place))

    def _put_up(self, source: Source | None, drawing: Drawing | None) -> None:
        shown = (source.key if source else "", self._caption)
        if drawing is not self._drawing or shown != self._shown:
            self._drawing, self._shown = drawing, shown
            self.refresh()
        if source is not None and drawing is not None:
            self._ready.move_to_end((source.key, drawing.frame))

    # what reaches the terminal

    def _free(self, drawing: Drawing) -> None:
        if drawing.number:
            from assetforge.tui.images.escapes import free_picture

            self._write(free_picture(drawing.number))
            drawing.number, drawing.placeholders = 0, ()
            if drawing is self._drawing:
                self.refresh()

    def _write(self, text: str) -> None:
        """Write past the screen, in step with what is drawn."""
        driver = self.app._driver  # noqa: SLF001
        if driver is not None:
            driver.write(text)

    def _is_covered(self) -> bool:
        """Whether real pixels cannot be shown now: another screen is in front, or sixels would be painted over what lies before them."""
        if not self.screen.is_active:
            return True
        if self._drawing is None or not self._drawing.sixels:
            return False
        # From front to back; what comes before this widget lies before it.
        for widget, (region, clip) in self.screen._compositor.visible_widgets.items():  # noqa: SLF001
            if widget is self:
                return False
            if region.intersection(clip).overlaps(self.region):
                return True
        return False

    def _lines(self, *, real: bool, whole: bool) -> list[Strip]:
        """All lines of the widget."""
        width, height = self.size
        ground = Style(bgcolor=self.background_colors[1].rich_color)
        drawing = self._drawing
        if drawing is None:
            return self._card(width, height, ground)
        caption = self._caption_lines(height)
        box = (width, height - caption)
        fits = (drawing.frame.width, drawing.frame.height) == box
        if real and drawing.placeholders:
            lines = _in_the_middle(drawing.placeholders, *box, ground)
        else:
            lines = _in_the_middle(drawing.strips, *box, ground)
            if real and whole and fits and drawing.sixels:
                lines = self._with_sixels(lines, drawing)
        if caption:
            lines.append(self._text(self._shown[1], "picture--caption", width, ground))
        return lines

    def _with_sixels(self, lines: list[Strip], drawing: Drawing) -> list[Strip]:
        # Sixels on the last line make terminals scroll.
        last = self.screen.size.height - 1 - self.region.y
        column = self.region.x + drawing.left + 1
        painted = list(lines)
        for row, sixels in enumerate(drawing.sixels, drawing.top):
            if row < min(last, len(lines)):
                # As a control it has no width for Textual; the place is kept because the cursor is put back.
                sequence = f"\x1b7\x1b[{column}G{sixels}\x1b8"
                control = Segment(sequence, None, [(ControlType.CURSOR_FORWARD, 0)])
                painted[row] = Strip([*lines[row], control], lines[row].cell_length)
        return painted

    def _card(self, width: int, height: int, ground: Style) -> list[Strip]:
        """Words in place of a picture."""
        rows = [(self._caption, "picture--name" if self._source else "picture--caption")]
        if self._source is not None and self._terminal.protocol == "off":
            if self._pixels and all(self._pixels):
                rows.append((" x ".join(number(side) for side in self._pixels) + " px", "picture--caption"))
            rows.append((_OFF, "picture--caption"))
        elif self._source is not None:
            # Not there yet: its name alone would jump when it comes.
            rows = []
        shown = [self._text(text, component, width, ground) for text, component in rows if text][:height]
        return _in_the_middle(shown, width, height, ground) if shown else [Strip.blank(width, ground)] * height

    def _text(self, text: str, component: str, width: int, ground: Style) -> Strip:
        style = ground + Style(color=self.get_component_rich_style(component).color)
        content = Content(text).truncate(width, ellipsis=True)
        left = (width - content.cell_length) // 2
        right = width - left - content.cell_length
        return Strip([Segment(" " * left + content.plain + " " * right, style)], width)


def release_pictures(app: "App[Any]") -> None:
    """Let the terminal forget all pictures; for the program to call when it ends, as long as it still has the terminal."""
    for screen in app.screen_stack:
        for picture in screen.query(Picture):
            picture.release()


def _draw(source: Source, frame: Frame, pictures: "Thumbnails | None", console: "Console") -> Drawing:
    # Picture libraries are loaded here, in the thread.
    from assetforge.tui.images.drawing import draw

    drawing = draw(source, frame, pictures)
    for strip in drawing.strips:
        # Strips keep what they were rendered to; thousands of colours take longer than a frame.
        strip.render(console)
    return drawing


def _in_the_middle(strips: Sequence[Strip], width: int, height: int, ground: Style) -> list[Strip]:
    """Lines in a box, cut or with ground around them."""
    blank = Strip.blank(width, ground)
    spare = height - len(strips)
    shown = list(strips[(-spare) // 2 :][:height] if spare < 0 else strips)
    for index, strip in enumerate(shown):
        room = width - strip.cell_length
        if room > 0:
            shown[index] = Strip(
                [Segment(" " * (room // 2), ground), *strip, Segment(" " * (room - room // 2), ground)], width
            )
        elif room < 0:
            shown[index] = strip.crop((-room) // 2, (-room) // 2 + width)
    above = max(0, spare) // 2
    return [blank] * above + shown + [blank] * (height - above - len(shown))
