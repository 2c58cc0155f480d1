"""The web server: pages, the websocket of every tab, downloads; everything behind the gate."""

import asyncio
import json
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from importlib.resources import files
from urllib.parse import quote

from aiohttp import WSMsgType, web
from jinja2 import Environment, PackageLoader
from textual_serve.download_manager import DownloadManager

from assetforge.tui.serve.access import Gate
from assetforge.tui.serve.tab import BROKEN, Farewell, Tab

__all__ = ["TAB_LIMIT", "WebServer", "run_server"]

TAB_LIMIT = 8
_STOP_S = 1.0
_HEARTBEAT_S = 15.0
_LONGEST_DELAY_S = 2.0
_MOST_CELLS = 1000
_THEIRS = {
    "xterm.css": "css/xterm.css",
    "textual.js": "js/textual.js",
    "upright.ttf": "fonts/RobotoMono-VariableFont_wght.ttf",
    "italic.ttf": "fonts/RobotoMono-Italic-VariableFont_wght.ttf",
}
_OURS = ("page.css", "page.js")
_TYPES = {"css": "text/css", "js": "text/javascript", "ttf": "font/ttf"}
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
# A file of the film that the browser shows must not reach the server in our name.
_FILE_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "font-src data:; frame-ancestors 'none'"
)
_REFUSED = "This needs the address that `assetforge serve` printed.\n"
_STOPPED = Farewell(
    "The server has stopped.",
    "Jobs go on. Start it again with `assetforge serve`, and open the address that it prints.",
)

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class WebServer:
    """Gives every tab its own program.

    Attributes:
        application: What aiohttp serves.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        gate: Gate,
        title: str,
        complain: Callable[[str], None],
        environment: Mapping[str, str] | None = None,
        limit: int = TAB_LIMIT,
    ) -> None:
        """A server that does not listen yet.

        Args:
            command: Starts a Textual program.
            gate: Who may use it.
            title: Title of the page.
            complain: Tells whoever runs the server about programs that broke.
            environment: Variables for the programs.
            limit: How many programs may run at once.
        """
        self._command = list(command)
        self._gate = gate
        self._title = title
        self._complain = complain
        self._environment = dict(environment or {})
        self._limit = limit
        self._tabs: dict[Tab, web.WebSocketResponse] = {}
        self._downloads = DownloadManager()
        self._pages = Environment(loader=PackageLoader("assetforge.tui.serve", "page"), autoescape=True)
        self._wrong = 0
        self._stopping = False
        self.application = self._build()

    def _build(self) -> web.Application:
        application = web.Application(middlewares=[self._admit])
        router = application.router
        router.add_get("/", self._index, allow_head=False)
        router.add_get("/socket", self._socket, allow_head=False)
        router.add_get("/static/{name}", self._static, allow_head=False)
        router.add_get("/download/{key}", self._download, allow_head=False)
        application.on_response_prepare.append(_protect)
        application.on_shutdown.append(self._shutdown)
        return application

    @web.middleware
    async def _admit(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Nothing behind this is reached without the right name, and the token or its cookie."""
        hosts = request.headers.getall("Host", [])
        if len(hosts) != 1 or not self._gate.knows(hosts[0]):
            return _refusal()
        if "token" in request.query:
            return await self._exchange(request)
        cookie = request.cookies.get(self._gate.cookie_name(request.host))
        if cookie is None:
            return _refusal()
        if not self._gate.remembers(cookie):
            return await self._slow_refusal()
        return await handler(request)

    async def _exchange(self, request: web.Request) -> web.StreamResponse:
        """The token for a cookie, and on to the address without it."""
        given = request.query.getall("token")
        if request.path != "/" or len(given) != 1 or not self._gate.opens(given[0]):
            return await self._slow_refusal()
        self._wrong = 0
        response: web.Response
        if request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin"):
            response = web.Response(status=303, headers={"Location": "/"})
        else:
            # Somebody followed a link in another page, and browsers would not send the cookie along with a redirect of that.
            response = self._page("entrance.html")
        response.set_cookie(
            self._gate.cookie_name(request.host), self._gate.cookie, path="/", httponly=True, samesite="Strict"
        )
        return response

    async def _slow_refusal(self) -> web.Response:
        """Every wrong token takes longer than the one before, until somebody has the right one."""
        self._wrong += 1
        await asyncio.sleep(min(_LONGEST_DELAY_S, 0.05 * 2 ** min(self._wrong, 10)))
        return _refusal()

    def _page(self, name: str, *, status: int = 200, **values: object) -> web.Response:
        text = self._pages.get_template(name).render(title=self._title, **values)
        return web.Response(text=text, status=status, content_type="text/html")

    async def _index(self, request: web.Request) -> web.StreamResponse:
        if request.query_string:
            return web.Response(status=303, headers={"Location": "/"})
        if len(self._tabs) >= self._limit:
            return self._page("notice.html", status=503, farewell=self._too_many())
        return self._page("terminal.html", socket=f"ws://{request.host}/socket")

    def _too_many(self) -> Farewell:
        return Farewell(
            f"{self._limit} tabs are open already, and each has a program of its own.",
            "Close one of them, then start again.",
        )

    async def _static(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name in _THEIRS:
            path = files("textual_serve") / "static" / _THEIRS[name]
        elif name in _OURS:
            path = files("assetforge.tui.serve") / "page" / name
        else:
            raise web.HTTPNotFound
        return web.Response(body=path.read_bytes(), content_type=_TYPES[name.rpartition(".")[2]])

    async def _download(self, request: web.Request) -> web.StreamResponse:
        key = request.match_info["key"]
        try:
            known = await self._downloads.get_download_metadata(key)
        except KeyError:
            raise web.HTTPNotFound from None
        kind = f"{known.mime_type or 'application/octet-stream'}"
        shown = "inline" if known.open_method == "browser" else "attachment"
        headers = {
            "Content-Type": f"{kind}; charset={known.encoding}" if known.encoding else kind,
            "Content-Disposition": f"{shown}; filename*=UTF-8''{quote(known.file_name, safe='')}",
            "Content-Security-Policy": _FILE_POLICY,
        }
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        async for chunk in self._downloads.download(key):
            await response.write(chunk)
        await response.write_eof()
        return response

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if not self._gate.same_origin(request.headers.get("Origin", ""), request.host):
            return _refusal()
        websocket = web.WebSocketResponse(heartbeat=_HEARTBEAT_S, compress=False)
        await websocket.prepare(request)
        if self._stopping or len(self._tabs) >= self._limit:
            await _say_farewell(websocket, _STOPPED if self._stopping else self._too_many())
            return websocket
        tab = Tab(
            self._command,
            environment=self._environment,
            write_bytes=websocket.send_bytes,
            write_str=websocket.send_str,
            ended=lambda farewell: _say_farewell(websocket, farewell),
            complain=self._complain,
            downloads=self._downloads,
        )
        self._tabs[tab] = websocket
        try:
            await tab.start(_cells(request.query.get("width"), 80), _cells(request.query.get("height"), 24))
            await _listen(websocket, tab)
        except OSError as error:
            self._complain(f"A program could not be started: {error}")
            await _say_farewell(websocket, BROKEN)
        finally:
            await tab.stop()
            del self._tabs[tab]
        return websocket

    async def _shutdown(self, _application: web.Application) -> None:
        self._stopping = True
        tabs = dict(self._tabs)
        await asyncio.gather(*(tab.stop() for tab in tabs), return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_S):
                await asyncio.gather(*(_say_farewell(one, _STOPPED) for one in tabs.values()), return_exceptions=True)


def run_server(server: WebServer, listening: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until the process is asked to end; the programs end with it, jobs go on.

    Args:
        server: What to serve.
        listening: From :func:`assetforge.tui.serve.access.listen`; closed at the end.
        ready: Called when requests are answered.
    """
    asyncio.run(_run(server, listening, ready))


async def _run(server: WebServer, listening: socket.socket, ready: Callable[[], None]) -> None:
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # `nohup` ignores the end of the terminal, and so do we then.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            with suppress(NotImplementedError):
                loop.add_signal_handler(number, asked.set)
    # There is no access log: it would hold the token.
    runner = web.AppRunner(server.application, access_log=None, shutdown_timeout=_STOP_S / 2)
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        ready()
        await asked.wait()
    finally:
        await runner.cleanup()


async def _listen(websocket: web.WebSocketResponse, tab: Tab) -> None:
    """Give the program what the page sends, until the page is gone."""
    async for message in websocket:
        if message.type is not WSMsgType.TEXT:
            continue
        try:
            match json.loads(message.data):
                case ["stdin", str(keys)]:
                    await tab.send_bytes(keys.encode("utf-8", "replace"))
                case ["resize", {"width": width, "height": height}]:
                    await tab.set_terminal_size(_cells(width, 80), _cells(height, 24))
                case ["ping", str(sent)]:
                    await websocket.send_json(["pong", sent])
                case ["focus"]:
                    await tab.focus()
                case ["blur"]:
                    await tab.blur()
        except ValueError:
            continue


def _cells(given: object, otherwise: int) -> int:
    """A width or height that somebody sent, between 1 and 1000."""
    try:
        return max(1, min(_MOST_CELLS, int(str(given))))
    except ValueError:
        return otherwise


async def _say_farewell(websocket: web.WebSocketResponse, farewell: Farewell) -> None:
    with suppress(ConnectionError, RuntimeError):
        await websocket.send_json(["farewell", farewell._asdict()])
        await websocket.close()


def _refusal() -> web.Response:
    return web.Response(status=403, text=_REFUSED)


async def _protect(_request: web.Request, response: web.StreamResponse) -> None:
    """What every answer says, also a refusal."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.pop("Server", None)
