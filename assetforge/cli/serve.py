"""``assetforge serve``: the TUI in a browser."""

import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from assetforge.cli.output import emit, plain, say
from assetforge.cli.session import film_folder
from assetforge.paths import user_cache_dir

__all__ = ["serve"]


def serve(
    *,
    port: int = 0,
    host: str = "127.0.0.1",
    token_file: Path | None = None,
    open_browser: Annotated[bool, Parameter(name="--open", negative=())] = False,
) -> None:
    """Serve the terminal program to a browser. Ctrl+C ends the server and the program of every tab; jobs go on.

    Args:
        port: Where to listen; 0 takes a free one.
        host: Address of this machine to listen on; any other than 127.0.0.1 may let other machines in.
        token_file: Keep the token in this file, so that the address stays the same; it is made when it is not there.
        open_browser: Open the browser as well.
    """
    from assetforge.tui.serve.access import Gate, is_loopback, listen, new_token, token_from_file

    found = film_folder()
    film = found.resolve() if found else None
    token = token_from_file(token_file) if token_file else new_token()
    with listen(host, port) as listening:
        from assetforge.tui.serve.program import command_of
        from assetforge.tui.serve.server import WebServer, run_server

        bound, taken = listening.getsockname()[:2]
        gate = Gate.for_socket(token, listening, host)
        title = f"{film.name} · assetforge" if film else "assetforge"
        server = WebServer(command_of(film), gate=gate, title=title, complain=_complain)
        address = f"{gate.address(bound, taken)}/?token={token}"
        page = user_cache_dir() / f"serve-{taken}.html"

        def ready() -> None:
            if not is_loopback(bound):
                sys.stderr.write(_warning(taken))
            emit("serve", {"address": address, "host": bound, "port": taken, "film": film}, lambda: _tell(address))
            sys.stdout.flush()
            if open_browser:
                _open(address, page)

        try:
            run_server(server, listening, ready)
        finally:
            with suppress(OSError):
                page.unlink()


def _tell(address: str) -> None:
    plain(address)
    say("Whoever has this address can do everything that you can do here. Ctrl+C ends it; jobs go on.")


def _open(address: str, page: Path) -> None:
    from assetforge.tui.serve.browser import has_browser, open_in_browser

    if has_browser():
        open_in_browser(address, page)
    else:
        say("There is no screen here to open a browser on; open the address yourself.")


def _warning(port: int) -> str:
    return (
        "Warning: other machines can reach this server. Whoever has the address and its token can do everything that you can do\n"
        "in your films, and what you see and type is not encrypted. Safer is to leave out --host, and on the other machine:\n"
        f"  ssh -L {port}:127.0.0.1:{port} {socket.gethostname()}\n"
    )


def _complain(said: str) -> None:
    """Whatever a program wrote to stderr; escapes in it stay harmless."""
    shown = "".join(char if char.isprintable() or char in "\n\t" else "�" for char in said)
    sys.stderr.write(f"A program in a tab stopped unexpectedly:\n{shown}\n")
    sys.stderr.flush()
