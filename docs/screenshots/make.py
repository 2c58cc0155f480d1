"""Make the screenshots of the terminal program from the demo film: ``python docs/screenshots/make.py FILM [NAME ...]``.

FILM is the folder of the demo film (``assetforge demo`` makes it); a copy is worked on, and nothing of the user is read or changed. Needs Chromium, which turns what
the program drew into PNG files beside this script: every screen at 80 x 24, 120 x 40 and 200 x 60, most of them in the dark theme.
"""

import asyncio
import base64
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from assetforge.services.assets import add_asset
from assetforge.services.projects import create_project, open_project

HERE = Path(__file__).parent
SIZES = ((80, 24), (120, 40), (200, 60))
_SETTLE_S = 1.2


@dataclass(frozen=True)
class Shot:
    """A screenshot: keys from the start on, the film or the list of films, and the theme."""

    name: str
    keys: tuple[str, ...]
    film: bool = True
    theme: str = "safelight"
    images: str = "halfcell"
    sizes: tuple[tuple[int, int], ...] = SIZES


MARA = ("end", "enter", "wait")
SHOTS = (
    Shot("films", (), film=False),
    Shot("assets", ("end",)),
    Shot("assets-light", ("end",), theme="daylight", sizes=((120, 40),)),
    Shot("assets-table", ("end", "v")),
    Shot("assets-no-pictures", ("end",), images="off", sizes=((120, 40),)),
    Shot("references", (*MARA, "1", "wait")),
    Shot("captions", (*MARA, "2", "wait")),
    Shot("datasets", (*MARA, "3", "wait")),
    Shot("versions", (*MARA, "4", "wait", "wait")),
    Shot("regression", (*MARA, "5", "wait", "wait")),
    Shot("compare", ("end", "c", "wait", "wait")),
    Shot("compare-light", ("end", "c", "wait", "wait"), theme="daylight", sizes=((120, 40),)),
    Shot("compare-difference", ("end", "c", "wait", "wait", "d", "wait")),
    Shot("compare-strengths", ("end", "c", "wait", "wait", "s", "wait")),
    Shot("compare-blind", ("end", "c", "wait", "wait", "v", "wait")),
    Shot("runs", ("r", "wait", "end", "up", "up", "up", "wait")),
    Shot("samples", ("r", "wait", "end", "up", "up", "up", "wait", "s", "wait")),
    Shot("new-run", ("end", "t", "wait", "wait")),
    Shot("watch", ("w", "wait")),
    Shot("plugins", ("f7", "wait", "wait")),
    Shot("settings", ("f8", "wait", "wait")),
    Shot("palette", ("end", "ctrl+p", "wait", *"mara", "wait")),
    Shot("help", ("end", "question_mark", "wait"), sizes=((120, 40), (200, 60))),
)


async def take(shot: Shot, film: Path, size: tuple[int, int]) -> str:
    """The screen as SVG."""
    from assetforge.tui.app import FilmApp
    from assetforge.tui.images.protocol import TerminalPictures
    from assetforge.tui.preferences import Preferences
    from assetforge.tui.state import State

    app = FilmApp(
        film if shot.film else None,
        preferences=Preferences(motion=False, theme=shot.theme),
        pictures=TerminalPictures(shot.images, 10, 20),  # type: ignore[arg-type]
        # What another shot left open, sorted or seen is not remembered.
        state=State(),
    )
    async with app.run_test(size=size, notifications=True) as pilot:
        await pilot.pause(_SETTLE_S)
        for key in shot.keys:
            await (pilot.pause(_SETTLE_S) if key == "wait" else pilot.press(key))
        await pilot.pause(_SETTLE_S)
        return app.export_screenshot(title="assetforge")


def to_png(svg: str, target: Path) -> None:
    """Let Chromium draw it; the fonts of this machine are used, and nothing is fetched."""
    svg = re.sub(r"@font-face\s*\{.*?\}", "", svg, flags=re.DOTALL)
    found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    width, height = (int(float(one)) for one in found.groups()) if found else (1200, 800)
    with tempfile.TemporaryDirectory() as folder:
        page, picture = Path(folder) / "page.html", Path(folder) / "page.png"
        data = base64.b64encode(svg.encode()).decode()
        page.write_text(
            f'<body style="margin:0"><img width="{width}" src="data:image/svg+xml;base64,{data}"></body>',
            encoding="utf-8",
        )
        subprocess.run(
            [
                "chromium",
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--hide-scrollbars",
                f"--screenshot={picture}",
                f"--window-size={width},{height}",
                page.as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=60,
        )
        Image.open(picture).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(target, optimize=True)


async def main(film: Path, names: list[str], write: Callable[[str, Path], Awaitable[None]]) -> None:
    """Take all shots, or those that are named."""
    for shot in SHOTS:
        if names and shot.name not in names:
            continue
        for width, height in shot.sizes:
            target = HERE / f"{shot.name}-{width}x{height}.png"
            svg = await asyncio.wait_for(take(shot, film, (width, height)), 90)
            await write(svg, target)
            sys.stdout.write(f"{target}\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(
            ASSETFORGE_HOME=home, ASSETFORGE_PROJECTS=f"{home}/projects", ASSETFORGE_ACTOR="director", HOME=home
        )
        os.environ.pop("NO_COLOR", None)
        copied = Path(home) / "projects" / Path(sys.argv[1]).name
        shutil.copytree(sys.argv[1], copied)
        # Brought up to date, and known to be a copy, before anybody looks.
        open_project(copied).close()
        with create_project("the-salt-road", title="The Salt Road") as other:
            for name, kind in (("anselm", "character"), ("salt-cart", "prop")):
                add_asset(other, name, kind)

        async def written(svg: str, target: Path) -> None:  # noqa: D103
            await asyncio.to_thread(to_png, svg, target)

        asyncio.run(main(copied, sys.argv[2:], written))
