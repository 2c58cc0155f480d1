"""One tab: a program of its own, started without a shell, ended with the tab."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from textual_serve.app_service import AppService
from textual_serve.download_manager import DownloadManager

__all__ = ["BROKEN", "ENDED", "Farewell", "Tab"]

_READY = b"__GANGLION__\n"
_PRELUDE_LINES = 10
_TAIL = 8192
_SHOWN = 400
_QUIT_S, _TERMINATE_S, _DRAIN_S = 1.0, 0.5, 0.3


class Farewell(NamedTuple):
    """What the page says at the end.

    Attributes:
        title: One sentence.
        text: What that means, or what to do.
    """

    title: str
    text: str


ENDED = Farewell("The program has ended.", "Jobs that were started go on.")
BROKEN = Farewell("The program stopped unexpectedly.", "The terminal where the server runs says why. Jobs go on.")


class Tab(AppService):
    """The program behind one websocket.

    Everything it draws goes to ``write_bytes``; ``ended`` is called once, when the program has ended by itself.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        write_bytes: Callable[[bytes], Awaitable[None]],
        write_str: Callable[[str], Awaitable[None]],
        ended: Callable[[Farewell], Awaitable[None]],
        complain: Callable[[str], None],
        downloads: DownloadManager,
    ) -> None:
        """A tab without a program; :meth:`start` starts it.

        Args:
            command: Words of the command line.
            environment: Variables that are laid over those of this process.
            write_bytes: Sends what the terminal shall show.
            write_str: Sends a message to the page.
            ended: Says farewell.
            complain: Tells whoever runs the server what the program wrote to stderr.
            downloads: Hands files of the program to the browser.
        """
        super().__init__(
            "", write_bytes=write_bytes, write_str=write_str, close=_nothing, download_manager=downloads, debug=False
        )
        self._words = list(command)
        self._environment = dict(environment)
        self._ended = ended
        self._complain = complain
        self._tail = bytearray()
        self._stopping = False

    async def _open_app_process(self, width: int = 80, height: int = 24) -> asyncio.subprocess.Process:
        self._process = process = await asyncio.create_subprocess_exec(
            *self._words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._build_environment(width, height),
            # Ctrl+C in the server's terminal is the server's; it ends the programs.
            start_new_session=True,
        )
        self._stdin = process.stdin
        return process

    def _build_environment(self, width: int = 80, height: int = 24) -> dict[str, str]:
        known = super()._build_environment(width, height)
        # It is about the terminal of the server.
        known.pop("LINES", None)
        return {**known, "TEXTUAL_DRIVER": "assetforge.tui.serve.driver:TabDriver", **self._environment}

    async def run(self) -> None:
        """Pass on what the program draws until it ends; not to be called, :meth:`start` does."""
        process = self._process
        assert process is not None  # noqa: S101 - start made it
        assert process.stdout is not None  # noqa: S101
        assert process.stderr is not None  # noqa: S101
        drawing = asyncio.create_task(self._pass_on(process.stdout))
        complaints = asyncio.create_task(self._collect(process.stderr))
        try:
            # The streams may be held open by what the program started, so their end says nothing.
            code = await process.wait()
            await asyncio.wait((drawing, complaints), timeout=_DRAIN_S)
            drew = not drawing.done() or drawing.result()
        finally:
            drawing.cancel()
            complaints.cancel()
            await asyncio.gather(drawing, complaints, return_exceptions=True)
        if not self._stopping:
            await self._tell(code, drew=drew)

    async def _pass_on(self, stdout: asyncio.StreamReader) -> bool:
        """Hand packets on until there are none; ``False`` when the program never began to draw."""
        for _ in range(_PRELUDE_LINES):
            line = await stdout.readline()
            if line == _READY:
                break
        else:
            return False
        actions = {b"D": self.on_data, b"M": self.on_meta, b"P": self.on_packed}
        with suppress(asyncio.IncompleteReadError):
            while True:
                head = await stdout.readexactly(5)
                payload = await stdout.readexactly(int.from_bytes(head[1:], "big"))
                # The tab may be gone; what a program draws must be taken from it all the same, or it cannot end.
                with suppress(ConnectionError, RuntimeError):
                    await actions[head[:1]](payload)
        return True

    async def _collect(self, stderr: asyncio.StreamReader) -> None:
        while data := await stderr.read(4096):
            self._tail += data
            if len(self._tail) > 2 * _TAIL:
                cut = len(self._tail) - _TAIL
                del self._tail[: self._tail.find(b"\n", cut) + 1 or cut]

    async def _tell(self, code: int, *, drew: bool) -> None:
        said = self._tail.decode("utf-8", "replace").strip()
        if code == 0 and drew:
            await self._ended(ENDED)
            return
        self._complain(said or f"A program ended with code {code} and said nothing.")
        short = said if not drew and 0 < len(said) <= _SHOWN else ""
        await self._ended(Farewell(BROKEN.title, short) if short else BROKEN)

    async def on_meta(self, data: bytes) -> None:
        """Take a message from the program; that it leaves is seen from its process, which alone knows how."""
        if data != b'{"type": "exit"}':
            await super().on_meta(data)

    async def stop(self) -> None:
        """End the program: asked first, then told, then killed; within two seconds."""
        self._stopping = True
        process, task = self._process, self._task
        if process is None or task is None:
            return
        await self._download_manager.cancel_app_downloads(app_service_id=self.app_service_id)
        with suppress(TimeoutError):
            async with asyncio.timeout(_QUIT_S):
                await self.send_meta({"type": "quit"})
                await process.wait()
        for end, seconds in ((process.terminate, _TERMINATE_S), (process.kill, None)):
            if process.returncode is not None:
                break
            with suppress(ProcessLookupError):
                end()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await process.wait()
        await asyncio.gather(task, return_exceptions=True)
        if process.stdin is not None:
            process.stdin.close()


async def _nothing() -> None:
    """The program's wish to leave is fulfilled by its end."""
