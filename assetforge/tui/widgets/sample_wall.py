"""Pictures that a run makes, as they come: the same prompts in the same columns, the newest step first."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from textual.widget import Widget

from assetforge.tui.session import in_thread
from assetforge.tui.widgets.picture import Picture
from assetforge.tui.words import number

if TYPE_CHECKING:
    from PIL import Image as Pillow

    from assetforge.jobs.live import Sample
    from assetforge.tui.images.protocol import TerminalPictures

__all__ = ["SampleWall", "grid_for", "newest_first"]

_MOST = 12
_SIDE = 768
_LEAST_WIDE, _SMALLEST = 20, 12
_GUTTER = 2


def newest_first(samples: "Sequence[Sample]") -> "list[Sample]":
    """Pictures in the order to look at them: those of the last step first; renders, which have no steps, backwards.

    Those of one step stay in the order in which they were made, so that the same prompts stand in the same places.
    """
    by_step: dict[int, dict[Sample, None]] = {}
    for sample in samples if samples and samples[-1].step is not None else reversed(samples):
        # An attempt that goes on from an older checkpoint makes some of them again.
        by_step.setdefault(-1 if sample.step is None else sample.step, {})[sample] = None
    return [sample for step in sorted(by_step, reverse=True) for sample in by_step[step]]


def grid_for(samples: "Sequence[Sample]", width: int, height: int) -> tuple[int, int, int]:
    """Columns, rows, and cells from row to row, for pictures that are as large as the room allows, as many as one step made beside each other.

    Args:
        samples: The newest first.
        width: Cells.
        height: Cells; one row in two pixels of height, as half-cell pictures have them.
    """
    together = sum(one.step == samples[0].step for one in samples) if samples and samples[0].step is not None else 0
    fitting = max(1, min(len(samples), width // _LEAST_WIDE))
    columns = min(fitting, together if together > 1 else 3)
    rows, high = _rows(columns, width, height)
    # What one step made is seen at once, if it can be; and one row that is narrower than the room takes what the step before made.
    while columns * rows < together and width // (columns + 1) >= _SMALLEST:
        columns += 1
        rows, high = _rows(columns, width, height)
    more = max(1, together)
    while rows == 1 and high > height and columns + more <= fitting:
        columns += more
        rows, high = _rows(columns, width, height)
    rows = max(1, min(rows, _MOST // columns, -(-len(samples) // columns)))
    return columns, rows, max(1, min(high, (height + 1) // rows - 1))


def _rows(columns: int, width: int, height: int) -> tuple[int, int]:
    """How many rows of square pictures with a line below have room, at least one, and how high each is."""
    high = (width - _GUTTER * (columns - 1)) // columns // 2 + 1
    return max(1, (height + 1) // (high + 1)), high


class SampleWall(Widget):
    """Shows as many pictures as have room.

    Args:
        terminal: What the terminal can show.
    """

    DEFAULT_CSS = """
    SampleWall { height: 1fr; layout: grid; grid-gutter: 1 2; }
    """

    def __init__(self, terminal: "TerminalPictures", *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._terminal = terminal
        self._samples: list[Sample] = []
        self._shown: tuple[Sample, ...] = ()
        self._opened: dict[Path, Pillow.Image | None] = {}

    def clear(self) -> None:
        """Show nothing, of another run."""
        self._samples, self._shown = [], ()
        self._opened.clear()
        for picture in self.query(Picture):
            picture.clear()

    def show(self, samples: "Sequence[Sample]", nothing: str) -> None:
        """Show the newest.

        Args:
            samples: In the order in which they were made.
            nothing: What is said when there are none.
        """
        self._samples = newest_first(samples)
        if not self._samples:
            self._arrange(1, 1)
            self.styles.grid_rows = "1fr"
            self.query(Picture).first().show(None, nothing)
        self._fit()

    def on_resize(self) -> None:
        """More or fewer have room now."""
        self._fit()

    def _fit(self) -> None:
        if not self._samples or not self.size.width or not self.size.height:
            return
        columns, rows, high = grid_for(self._samples, self.outer_size.width, self.outer_size.height)
        self._arrange(columns, rows)
        self.styles.grid_rows = str(high)
        # Columns of one width, or the same picture would be higher in one than in another.
        self.styles.padding = (0, (self.outer_size.width - _GUTTER * (columns - 1)) % columns, 0, 0)
        shown = tuple(self._samples[: columns * rows])
        if shown != self._shown:
            self._shown = shown
            self.run_worker(self._open(shown), group="samples", exclusive=True, exit_on_error=False)

    def _arrange(self, columns: int, rows: int) -> None:
        self.styles.grid_size_columns, self.styles.grid_size_rows = columns, rows
        wanted = max(1, min(columns * rows, len(self._samples)))
        # Most runs are never asked for their pictures: places for them are made when they are.
        places = list(self.query(Picture))
        made = [Picture(None, self._terminal) for _ in range(wanted - len(places))]
        if made:
            self.mount_all(made)
        for at, picture in enumerate(places):
            picture.display = at < wanted

    async def _open(self, samples: "Sequence[Sample]") -> None:
        paths = [sample.path for sample in samples]
        missing = [path for path in paths if path not in self._opened]
        self._opened = {path: self._opened[path] for path in paths if path in self._opened}
        self._opened |= await in_thread(_open, missing)
        for picture, sample in zip(self.query(Picture), samples, strict=False):
            image = self._opened.get(sample.path)
            if image is None:
                picture.show(None, f"{sample.path.stem} cannot be read")
            else:
                picture.show_image(image, _caption(sample))


def _caption(sample: "Sample") -> str:
    parts = ("" if sample.step is None else f"step {number(sample.step)}", sample.prompt)
    return " · ".join(part for part in parts if part) or sample.path.stem


def _open(paths: Sequence[Path]) -> "dict[Path, Pillow.Image | None]":
    from assetforge.errors import AssetForgeError
    from assetforge.store.imaging import load_srgb

    found: dict[Path, Pillow.Image | None] = {}
    for path in paths:
        try:
            found[path] = load_srgb(path.read_bytes(), name=path.name, longest=_SIDE)
        except (AssetForgeError, OSError):
            # It may still be written, or be gone.
            found[path] = None
    return found
