"""Hands and eyes of a person at the program, once under Textual's pilot and once in a real tmux: the same journeys are walked with either."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from textual.events import Paste
from textual.pilot import Pilot

from tests.tui.tmux import TmuxTerminal

__all__ = ["Hands", "PilotHands", "TmuxHands"]

Wanted = str | tuple[str, ...]

_LOOK_S = 0.05
_TYPED = 8


class Hands(Protocol):
    """A person in front of the program."""

    async def press(self, *keys: str) -> None:
        """Press keys by Textual's names of them, such as ``enter``, ``ctrl+s`` or ``/``."""

    async def write(self, text: str) -> None:
        """Type a text."""

    def screen(self) -> str:
        """What is on the screen now, line by line."""

    async def see(self, *wanted: Wanted, gone: str = "", limit_s: float = 20.0) -> str:
        """Wait until all texts are on the screen, of several in a tuple one, and another one is not.

        Raises:
            TimeoutError: That never came; the message has the screen.
        """


async def _wait(
    screen: Callable[[], str], wanted: tuple[Wanted, ...], gone: str, limit_s: float, ended: Callable[[], object]
) -> str:
    deadline = time.monotonic() + limit_s
    while True:
        text = screen()
        missing = [one for one in wanted if not any(part in text for part in ([one] if isinstance(one, str) else one))]
        if not missing and not (gone and gone in text):
            return text
        if time.monotonic() >= deadline or ended() is not None:
            raise TimeoutError(f"within {limit_s} s, not there: {missing}, not gone: {gone!r}\n{text}")
        await asyncio.sleep(_LOOK_S)


class PilotHands:
    """Under the pilot, in this process.

    Args:
        pilot: Of ``app.run_test(notifications=True)``.
    """

    def __init__(self, pilot: "Pilot[None]") -> None:
        self.pilot = pilot

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def write(self, text: str) -> None:
        if len(text) <= _TYPED:
            await self.pilot.press(*text)
            return
        # The pilot rests after every key; a person pastes what is long.
        self.pilot.app._driver.send_message(Paste(text))
        await self.pilot.pause()

    def screen(self) -> str:
        strips = self.pilot.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips)

    async def see(self, *wanted: Wanted, gone: str = "", limit_s: float = 20.0) -> str:
        return await _wait(self.screen, wanted, gone, limit_s, lambda: None)


class TmuxHands:
    """In a real terminal, with the real program in a process of its own."""

    def __init__(self, terminal: TmuxTerminal) -> None:
        self.terminal = terminal

    async def press(self, *keys: str) -> None:
        for key in keys:
            self.terminal.send(key)
            # A key that follows within milliseconds is one of a paste, not of a person.
            await asyncio.sleep(0.03)

    async def write(self, text: str) -> None:
        self.terminal.send(text)

    def screen(self) -> str:
        return self.terminal.text

    async def see(self, *wanted: Wanted, gone: str = "", limit_s: float = 20.0) -> str:
        return await _wait(self.screen, wanted, gone, limit_s, self.terminal.exit_status)
