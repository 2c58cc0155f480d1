"""What is typed ahead goes where it would have gone had the person waited.

Textual hands keys on as they arrive. On a slow machine or line several arrive at once, and the second is on its way before the first has done anything: the text for the
second field lands in the first, and letters that were meant for a question that is about to open are taken for actions, ``q`` among them.
"""

import asyncio
import time
from collections import deque

from textual.app import App
from textual.events import Event, Key, Paste
from textual.message_pump import MessagePump
from textual.worker import Worker

__all__ = ["ACTING", "KeysInTurn"]

ACTING = "acting"
"""Description of workers that an action runs in: what they ask must be there before the next key."""

_LONGEST_S = 0.6
"""A key waits no longer than this for the one before: what takes more goes on beside the person."""

_FOCUS_S = 0.25
_LOOK_S = 0.01
_ROUNDS = 3
"""A key goes up from the widget to the program; what follows from it, such as that a text was submitted, goes the same way after it, and so may what follows from that."""


class KeysInTurn(App[None]):
    """An app in which every key has done its work, as far as that is quick, before the next one is looked at."""

    def __init__(self) -> None:
        super().__init__()
        self._typed: deque[Key | Paste] = deque()
        self._turn: Key | Paste | None = None

    async def on_event(self, event: Event) -> None:
        """Keep keys back while one is at work. Under a pilot, which waits by itself, nothing is kept back."""
        if not isinstance(event, Key | Paste) or event.is_forwarded or self.is_headless:
            await super().on_event(event)
        elif self._turn is None or self._turn is event:
            self._turn = event
            acting, screen, target = self._acting(), self.screen, self.focused or self.screen
            try:
                await super().on_event(event)
            finally:
                # A task of its own: this one has to handle what the key brings up to here.
                self._settling = asyncio.create_task(self._settle(screen, target, acting))
        else:
            self._typed.append(event)

    def _acting(self) -> set[Worker[object]]:
        return {one for one in self.workers if one.description == ACTING}

    async def _settle(self, screen: MessagePump, target: MessagePump, acting: set[Worker[object]]) -> None:
        """Wait until a key has done its work, then let the next one in."""
        try:
            async with asyncio.timeout(_LONGEST_S):
                for _ in range(_ROUNDS):
                    await self._pass_through(target)
                while self.screen is screen and any(one.is_running for one in self._acting() - acting):
                    await asyncio.sleep(_LOOK_S)
                if self.screen is not screen:
                    await self._focused()
        except TimeoutError:
            pass
        finally:
            self._turn = self._typed.popleft() if self._typed else None
            if self._turn is not None:
                self.post_message(self._turn)

    async def _pass_through(self, target: MessagePump) -> None:
        """Wait until everything has handled what it was sent so far, from a widget up to here."""
        pump: MessagePump | None = target
        while pump is not None:
            handled = asyncio.Event()
            if pump.call_later(handled.set):
                await handled.wait()
            pump = pump._parent  # noqa: SLF001 - the way that messages take; `parent` of a screen is none

    async def _focused(self) -> None:
        """Wait until the screen that has come knows where its keys go."""
        end = time.monotonic() + _FOCUS_S
        while self.focused is None and time.monotonic() < end:
            await asyncio.sleep(_LOOK_S)
