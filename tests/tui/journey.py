"""The way of a new user from an empty list of films to a published version, without the command line, in steps that any :class:`Hands` can take."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from assetforge.services.projects import open_project
from assetforge.services.suites import add_suite
from tests.tui.hands import Hands

__all__ = ["Journey", "draw_stills", "write_suite"]


def write_suite(folder: Path, family: str, **settings: object) -> Path:
    """A suite ``tiny`` of three pictures, beside their three of the bare base."""
    file = folder / "tiny.toml"
    lines = [f"{name} = {value}" for name, value in settings.items()]
    file.write_text(
        "\n".join(
            [
                'name = "tiny"',
                'title = "Tiny"',
                f'family = "{family}"',
                'asset_types = ["character", "costume"]',
                *lines,
                "[[blocks]]",
                'name = "core"',
                'prompts = ["{trigger} {class} at the beach on the left, flat poster", "{trigger} {class} in the snow"]',
                "seeds = [11]",
                "[[blocks]]",
                'name = "bleed"',
                'prompts = ["a red robot in the snow in the middle, flat poster"]',
                "seeds = [31]",
            ]
        ),
        encoding="utf-8",
    )
    return file


def draw_stills(folder: Path, count: int) -> None:
    """Pictures of the toybox's world, with captions beside most of them, in which one word is wrong."""
    demo = pytest.importorskip("assetforge_toybox.demo")
    drawn = [one for name in ("mara", "ilse") for batch in (1, 2) for one in demo.references(name, batch)]
    folder.mkdir()
    for at, one in enumerate(drawn[:count]):
        picture = folder / f"still-{at:02d}.png"
        one.picture.save(picture)
        if at % 5:
            picture.with_suffix(".txt").write_text(f"mara teh girl, {one.caption}", encoding="utf-8")


@dataclass
class Journey:
    """One walk.

    Attributes:
        hands: Who walks.
        film: Where the film will be.
        kind: Type of the asset.
        asset: Its name.
        seconds: How long every part took.
        patience_s: Longest time for what jobs make.
    """

    hands: Hands
    film: Path
    kind: str = "character"
    asset: str = "mara"
    patience_s: float = 240.0
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Take the time."""
        began = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - began, 1)

    async def make_the_film(self) -> None:
        """From the empty list."""
        with self.part("film"):
            await self.hands.see("No film yet. n makes one", "n new film")
            await self.hands.press("n")
            await self.hands.see("New film")
            await self.hands.write("night-harbour")
            await self.hands.press("enter")
            await self.hands.write("Night Harbour")
            await self.hands.press("enter")
            await self.hands.see("Night Harbour ▸ assets", "No assets yet. n adds")

    async def add_the_asset(self, trigger: str, class_word: str) -> None:
        """Its name, type, trigger and class word, by keyboard."""
        with self.part("asset"):
            await self.hands.press("n")
            await self.hands.see("New asset", "class word")
            await self.hands.write(self.asset)
            await self.hands.press("enter")
            if self.kind != "character":
                await self._choose(self.kind)
            await self.hands.press("enter")
            await self.hands.write(trigger)
            await self.hands.press("enter")
            await self.hands.write(class_word)
            await self.hands.press("enter")
            await self.hands.see(f"{self.asset} is there.", "collecting")

    async def _choose(self, kind: str) -> None:
        """Types of plugins come a moment after the question."""
        await self.hands.press("down")
        await self.hands.see(kind)
        await self.hands.write(kind)
        await self.hands.press("enter")
        await self.hands.see(kind, "▼")

    async def take_a_small_suite(self, file: Path) -> None:
        """The film gets a suite of its own from elsewhere, and the asset is set to it here."""
        with self.part("suite"):
            with open_project(self.film) as project:
                add_suite(project, file)
            await self.hands.press("e")
            await self.hands.see(f"Change {self.asset}")
            await self.hands.press(*["enter"] * 4, "down")
            await self.hands.write("tiny")
            await self.hands.press("enter")
            await self.hands.see("tiny", "▼", gone="▲")
            await self.hands.press("enter")
            await self.hands.see(f"{self.asset} is changed.")

    async def import_pictures(self, folder: Path, count: int) -> None:
        """A folder of pictures, some with captions beside them."""
        with self.part("import"):
            await self.hands.press("i")
            await self.hands.see(f"Import pictures as references of {self.asset}")
            await self.hands.write(str(folder))
            await self.hands.press("enter")
            await self.hands.write("stills of day 3")
            await self.hands.press("enter")
            await self.hands.write("cleared")
            await self.hands.press("enter")
            await self.hands.see(f"{count} pictures added to {self.asset}", limit_s=60)

    async def fix_captions(self, wrong: str, right: str, caption: str) -> None:
        """A wrong word in all of them at once, and one by hand."""
        with self.part("captions"):
            await self.hands.press("enter")
            await self.hands.see("1 References", "30 references")
            await self.hands.press("2")
            await self.hands.see("30 captions", "no caption")
            await self.hands.press("ctrl+f")
            await self.hands.see("Find and replace")
            await self.hands.write(wrong)
            await self.hands.press("enter")
            await self.hands.write(right)
            await self.hands.press("enter", "enter", "enter")
            await self.hands.see("of 30 captions?", f"− {self.asset} {wrong}", f"+ {self.asset} {right}")
            await self.hands.press("y")
            await self.hands.see("captions changed; u undoes it", gone=f"{self.asset} {wrong}")
            await self.hands.press("enter")
            await self.hands.write(caption)
            await self.hands.press("enter")
            await self.hands.press("escape")
            await self.hands.see(caption[:16])

    async def freeze(self, train: int, held_out: int) -> None:
        """The first dataset version."""
        with self.part("freeze"):
            await self.hands.press("3")
            await self.hands.see("No dataset version yet.", "f freeze")
            await self.hands.press("f")
            await self.hands.see("Freeze what is active now")
            await self.hands.write("day three")
            await self.hands.press("enter")
            await self.hands.see(
                f"{self.asset}/d1: {train} to train on, {held_out} held out.", "day three", f"+{train + held_out}"
            )

    async def train(self, number: int, steps: int) -> None:
        """By the form, and to the runs with it."""
        with self.part(f"train v{number}"):
            await self.hands.press("t")
            text = await self.hands.see("new run", "ctrl+s starts it", limit_s=40)
            if "find by name" in text:
                await self.hands.press("/")
                await self.hands.write("steps")
                await self.hands.press("enter")
            else:
                while not any(line.startswith("  Steps  ") for line in self.hands.screen().split("\n")[-5:]):
                    await self.hands.press("tab")
            await self.hands.write(str(steps))
            await self.hands.see("• changed", f"→ {steps}", "ctrl+s starts it")
            await self.hands.press("ctrl+s")
            await self.hands.see("▸ runs", f"run {number}", gone="▸ new run")
            await self.hands.see(f"→ {self.asset}/v{number}", f"{steps}/{steps} steps", limit_s=self.patience_s)

    async def to_the_version(self, number: int) -> None:
        """From its run."""
        await self.hands.press("v")
        await self.hands.see("[4 Versions", f"v{number}  ○ candidate", "not compared")

    async def back_to_the_versions(self) -> None:
        """From a comparison."""
        await self.hands.press("escape")
        await self.hands.see("[4 Versions")

    async def compare(self, number: int, against: str) -> None:
        """Ask for it, wait for it, and look at the worst cells."""
        with self.part(f"compare v{number}"):
            await self.hands.press("c")
            await self.hands.see(f"Compare {self.asset}/v{number} with {against}?", "pictures to render", "tiny.")
            await self.hands.press("y")
            await self.hands.see("space blink", gone="waiting", limit_s=self.patience_s)
            for at, seen in enumerate(("1 of 3 seen", "2 of 3 seen", "✓ 3 seen"), start=1):
                # On a small screen the list gives way to the pictures.
                await self.hands.see((seen, f" {at}/3 ✓"))
                await self.hands.press("n")

    async def reject(self, number: int, why: str) -> None:
        """From the comparison, with a reason."""
        with self.part(f"reject v{number}"):
            await self.hands.press("x")
            await self._decide(f"Reject {self.asset}/v{number}?", why)
            await self.hands.see(f"✕ {self.asset}/v{number} is rejected.")

    async def approve(self, number: int, why: str) -> None:
        """From the comparison, with a reason."""
        with self.part(f"approve v{number}"):
            await self.hands.press("a")
            await self._decide(f"Approve {self.asset}/v{number}?", why)
            await self.hands.see(f"● {self.asset}/v{number} is approved.")

    async def _decide(self, title: str, why: str) -> None:
        await self.hands.see(title)
        await self.hands.write(why)
        await self.hands.press("enter")

    async def publish(self, number: int) -> Path:
        """From the list of versions."""
        with self.part("publish"):
            await self.hands.press("p")
            file = self.film / "loras" / self.asset / f"{self.asset}-v{number:03d}.safetensors"
            await self.hands.see("published", file.name)
            return file

    async def whole(self, stills: Path, suite: Path) -> None:
        """All of it on the toybox: the first version is rejected, the second approved and published."""
        await self.make_the_film()
        await self.add_the_asset("mrvale", "girl")
        await self.take_a_small_suite(suite)
        await self.import_pictures(stills, 30)
        await self.fix_captions("teh", "the", "mrvale at night, from behind")
        await self.freeze(27, 3)
        await self.train(1, 8)
        await self.to_the_version(1)
        await self.compare(1, "the bare base")
        await self.reject(1, "the coat is not hers")
        await self.back_to_the_versions()
        await self.train(2, 12)
        await self.to_the_version(2)
        await self.compare(2, "the bare base")
        await self.approve(2, "that is her")
        await self.back_to_the_versions()
        published = await self.publish(2)
        assert published.is_file()
