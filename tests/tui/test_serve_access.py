"""Who gets into the server, what each of them gets, and how its programs end."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from contextlib import asynccontextmanager, suppress

import aiohttp
import psutil
import pytest
from aiohttp import web

from assetforge.errors import BusyError, UsageError
from assetforge.tui.serve.access import Gate, is_loopback, listen, new_token, token_from_file
from assetforge.tui.serve.server import WebServer

SMALL = """
import io, sys
from textual.app import App
from textual.widgets import Input, Static

class Small(App):
    BINDINGS = [("x", "mark", ""), ("d", "give", ""), ("c", "crash", ""), ("n", "noise", ""), ("q", "quit", "")]

    def compose(self):
        yield Static("argument " + repr(sys.argv[1:]), markup=False)
        yield Static("unmarked", id="mark", markup=False)

    def action_mark(self):
        self.query_one("#mark", Static).update(f"marked at {self.size.width}x{self.size.height}")

    def action_give(self):
        self.deliver_text(io.StringIO("<b>delivered</b>"), save_filename="a list [1];.html", open_method="browser")

    def action_crash(self):
        raise RuntimeError("crashed on purpose")

    def action_noise(self):
        import os
        os.write(1, b"a library writes to stdout")
        self.query_one("#mark", Static).update("survived the noise")

app = Small()
app.run()
sys.exit(app.return_code or 0)
"""
STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.write(1, b"__GANGLION__\\nD" + (2).to_bytes(4, "big") + b"up")
while True:
    time.sleep(60)
"""
NEVER_BEGAN = "import sys; sys.stderr.write('There is no film named x.'); sys.exit(3)"
TOKEN = "t" * 43


@pytest.fixture
def small(tmp_path):
    """A command with everything that a shell would take apart."""
    script = tmp_path / "a small; program [1].py"
    script.write_text(SMALL)
    return [sys.executable, str(script), "the $HOME; `film` [b] 'x'"]


class Served:
    """A running server and a client that says what it is told to."""

    def __init__(self, server, gate, port, client):
        self.server, self.gate, self.port, self.client = server, gate, port, client
        self.origin = f"http://127.0.0.1:{port}"
        self.complaints = []
        # Such as those that read pictures for tests that ran before in this process.
        self.others = {one.pid for one in psutil.Process().children(recursive=True)}

    @property
    def cookie(self):
        return {"Cookie": f"assetforge-{self.port}={self.gate.cookie}"}

    async def get(self, path, **headers):
        async with self.client.get(self.origin + path, headers=headers, allow_redirects=False) as answer:
            return answer.status, answer.headers, await answer.text()

    @asynccontextmanager
    async def tab(self, size="width=80&height=24", **headers):
        given = {"Origin": self.origin, **self.cookie, **headers}
        async with self.client.ws_connect(f"{self.origin}/socket?{size}", headers=given) as websocket:
            yield websocket

    def processes(self):
        found = []
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if process.pid not in self.others and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found


@asynccontextmanager
async def serving(command, **how):
    with listen("127.0.0.1", 0) as listening:
        gate = Gate.for_socket(TOKEN, listening, "127.0.0.1")
        complaints = []
        server = WebServer(command, gate=gate, title="a film", complain=complaints.append, **how)
        runner = web.AppRunner(server.application, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        await web.SockSite(runner, listening).start()
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:
            served = Served(server, gate, listening.getsockname()[1], client)
            served.complaints = complaints
            try:
                yield served
            finally:
                await runner.cleanup()


async def until(websocket, text, seconds=20.0):
    """Read what is drawn until this was; messages to the page are returned too."""
    seen = ""
    async with asyncio.timeout(seconds):
        async for message in websocket:
            seen += (
                message.data.decode("utf-8", "replace") if message.type is aiohttp.WSMsgType.BINARY else message.data
            )
            if text in seen:
                return seen
    raise AssertionError(f"{text!r} did not come, but {seen[-500:]!r}")


async def press(websocket, keys):
    await websocket.send_str(json.dumps(["stdin", keys]))


async def gone(served, seconds=3.0):
    end = time.monotonic() + seconds
    while served.processes():
        assert time.monotonic() < end, served.processes()
        await asyncio.sleep(0.05)


ROUTES = [
    "/",
    "/socket",
    "/static/textual.js",
    "/static/page.css",
    "/static/",
    "/download/abc",
    "/nothing",
    "/favicon.ico",
]


async def test_without_the_token_every_address_says_the_same_nothing(small):
    async with serving(small) as served:
        for path in ROUTES:
            status, headers, text = await served.get(path)
            assert (status, text) == (403, "This needs the address that `assetforge serve` printed.\n")
            assert "Server" not in headers
            assert "Set-Cookie" not in headers
            assert headers["Cache-Control"] == "no-store"
            assert "default-src 'none'" in headers["Content-Security-Policy"]
            assert headers["X-Frame-Options"] == "DENY"
            assert headers["Referrer-Policy"] == "no-referrer"
        for method in ("POST", "HEAD", "OPTIONS", "PUT"):
            async with served.client.request(method, served.origin + "/") as answer:
                assert answer.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with served.tab(Cookie=""):
                pass
        assert refused.value.status == 403
        assert served.processes() == []


async def test_a_wrong_token_gets_nothing_and_the_next_one_waits_longer(small):
    async with serving(small) as served:
        took = []
        for wrong in ("wrong", TOKEN[:-1], TOKEN + "t"):
            began = time.monotonic()
            status, headers, _ = await served.get(f"/?token={wrong}")
            took.append(time.monotonic() - began)
            assert status == 403
            assert "Set-Cookie" not in headers
        assert took[2] > took[1] > took[0] > 0.09
        assert (await served.get(f"/?token={TOKEN}"))[0] == 303
        began = time.monotonic()
        assert (await served.get("/", Cookie=f"assetforge-{served.port}={TOKEN}"))[0] == 403
        assert time.monotonic() - began < took[1]


@pytest.mark.parametrize(
    "path", ["/?token=", "/?token=\N{SNOWMAN}", f"/static/page.css?token={TOKEN}", f"/?token={TOKEN}&token={TOKEN}"]
)
async def test_the_token_opens_the_entrance_alone_and_once(small, path):
    async with serving(small) as served:
        assert (await served.get(path))[0] == 403
        # A cookie does not heal a wrong token.
        assert (await served.get(path, **served.cookie))[0] == 403
        with pytest.raises(aiohttp.WSServerHandshakeError):
            async with served.tab(f"token={TOKEN}", Cookie=""):
                pass


async def test_the_token_becomes_a_cookie_and_leaves_the_address(small):
    async with serving(small) as served:
        status, headers, text = await served.get(f"/?token={TOKEN}")
        assert (status, headers["Location"], text) == (303, "/", "")
        cookie = headers["Set-Cookie"]
        assert cookie.startswith(f"assetforge-{served.port}={served.gate.cookie};")
        assert {"HttpOnly", "Path=/", "SameSite=Strict"} <= {part.strip() for part in cookie.split(";")}
        assert TOKEN not in cookie
        status, headers, text = await served.get("/", **served.cookie)
        assert status == 200
        assert f'data-session-websocket-url="ws://127.0.0.1:{served.port}/socket"' in text
        assert "<title>a film</title>" in text
        assert "//fonts" not in text
        assert TOKEN not in text
        assert (await served.get("/?delay=1&ping=http://elsewhere", **served.cookie))[0] == 303
        for name in ("textual.js", "xterm.css", "upright.ttf", "italic.ttf", "page.css", "page.js"):
            assert await _static(served, name) == 200
        for path in ("/static/terminal.html", "/static/..%2Fserver.py", "/static/", "/download/abc"):
            assert (await served.get(path, **served.cookie))[0] == 404


async def _static(served, name):
    async with served.client.get(f"{served.origin}/static/{name}", headers=served.cookie) as answer:
        assert await answer.read()
        return answer.status


async def test_who_comes_from_a_link_elsewhere_gets_in_too(small):
    """Browsers send no strict cookie along a redirect that another page began, so that one is a page."""
    async with serving(small) as served:
        status, headers, text = await served.get(f"/?token={TOKEN}", **{"Sec-Fetch-Site": "cross-site"})
        assert status == 200
        assert "Set-Cookie" in headers
        assert 'content="0; url=/"' in text
        assert TOKEN not in text


async def test_a_foreign_name_or_a_foreign_page_is_refused(small):
    async with serving(small) as served:
        port = served.port
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "127.0.0.2", "", "localhost:x"):
            assert (await served.get("/", Host=host, **served.cookie))[0] == 403
            assert (await served.get(f"/?token={TOKEN}", Host=host))[0] == 403
        assert (await served.get("/", Host=f"localhost:{port}", **served.cookie))[0] == 200
        # Through `ssh -L 9000:127.0.0.1:PORT` the browser sees another port, and keeps the cookie under it.
        forwarded = {"Cookie": f"assetforge-9000={served.gate.cookie}", "Host": "localhost:9000"}
        assert "ws://localhost:9000/socket" in (await served.get("/", **forwarded))[2]
        for origin in ("http://evil.example", "null", "", f"http://127.0.0.1:{port + 1}", f"http://localhost:{port}"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                async with served.tab(Origin=origin):
                    pass
            assert refused.value.status == 403
        assert served.processes() == []


async def test_a_tab_has_a_program_that_gets_keys_and_size_and_ends_with_it(small):
    async with serving(small) as served:
        async with served.tab("width=71&height=19") as websocket:
            drawn = await until(websocket, "unmarked")
            # No shell has touched the words.
            assert repr("the $HOME; `film` [b] 'x'") in drawn
            await press(websocket, "x")
            await until(websocket, "71x19")
            await websocket.send_str(json.dumps(["resize", {"width": 90, "height": 30}]))
            for nonsense in (
                "",
                "{",
                "[]",
                '["resize", {"width": "a"}]',
                '["resize", {"width": -5, "height": 1e9}]',
                "7",
            ):
                await websocket.send_str(nonsense)
            await websocket.send_str(json.dumps(["resize", {"width": 90, "height": 30}]))
            await asyncio.sleep(0.5)
            await press(websocket, "x")
            await until(websocket, "90x30")
            (process,) = served.processes()
            told = " ".join([*process.cmdline(), *(f"{a}={b}" for a, b in process.environ().items())])
            assert TOKEN not in told
            assert served.gate.cookie not in told
        await gone(served)
        assert served.complaints == []


async def test_a_program_that_leaves_or_breaks_says_so(small, tmp_path):
    async with serving(small) as served:
        async with served.tab() as websocket:
            await until(websocket, "unmarked")
            await press(websocket, "n")
            await until(websocket, "survived the noise")
            await press(websocket, "q")
            assert "The program has ended." in await until(websocket, "farewell")
            assert (await websocket.receive()).type is aiohttp.WSMsgType.CLOSE
        async with served.tab() as websocket:
            await until(websocket, "unmarked")
            await press(websocket, "c")
            assert "stopped unexpectedly" in await until(websocket, "farewell")
        assert "crashed on purpose" in served.complaints[0]
        await gone(served)
    async with serving([sys.executable, "-c", NEVER_BEGAN]) as served, served.tab() as websocket:
        assert "There is no film named x." in await until(websocket, "farewell")


async def test_there_is_an_end_to_tabs(small):
    async with serving(small, limit=2) as served:
        async with served.tab() as first, served.tab() as second:
            await until(first, "unmarked")
            await until(second, "unmarked")
            status, _, text = await served.get("/", **served.cookie)
            assert status == 503
            assert "2 tabs are open already" in text
            async with served.tab() as third:
                assert "2 tabs are open already" in await until(third, "farewell")
            assert len(served.processes()) == 2
        await gone(served)
        # The place of a tab is free a moment after its program has ended.
        end = time.monotonic() + 10
        while (await served.get("/", **served.cookie))[0] != 200:
            assert time.monotonic() < end
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_even_a_stubborn_program_ends_with_the_server_within_three_seconds(small):
    async with serving([sys.executable, "-c", STUBBORN]) as served:
        async with served.tab() as websocket:
            await until(websocket, "up")
            process = served.processes()[0]
            began = time.monotonic()
        await gone(served)
        assert time.monotonic() - began < 3.0
        websockets = [
            await served.client.ws_connect(
                f"{served.origin}/socket", headers={"Origin": served.origin, **served.cookie}
            )
            for _ in range(3)
        ]
        for websocket in websockets:
            await until(websocket, "up")
        began = time.monotonic()
    assert time.monotonic() - began < 3.0
    assert not process.is_running()
    assert served.processes() == []


async def test_files_of_the_program_reach_the_browser_and_nothing_else(small):
    async with serving(small) as served, served.tab() as websocket:
        await until(websocket, "unmarked")
        await press(websocket, "d")
        drawn = await until(websocket, "deliver_file_start")
        key = drawn[drawn.index('["deliver_file_start"') :].split('"')[3]
        reading = asyncio.create_task(_listen(websocket))
        assert (await served.get(f"/download/{key}"))[0] == 403
        status, headers, text = await served.get(f"/download/{key}", **served.cookie)
        reading.cancel()
        assert (status, text) == (200, "<b>delivered</b>")
        assert headers["Content-Disposition"] == "inline; filename*=UTF-8''a%20list%20%5B1%5D%3B.html"
        assert headers["Content-Security-Policy"].startswith("sandbox allow-scripts; default-src 'none'")


async def _listen(websocket):
    async for _ in websocket:
        pass


def test_the_gate_knows_its_names():
    with listen("127.0.0.1", 0) as listening:
        gate = Gate.for_socket(TOKEN, listening, "localhost")
        assert gate.knows("LOCALHOST:80")
        assert gate.knows("127.0.0.1")
        assert not gate.knows("[::1]")
        assert not gate.knows("192.168.1.7:80")
        assert gate.address("127.0.0.1", 80) == "http://127.0.0.1:80"
    with listen("0.0.0.0", 0) as listening:
        gate = Gate.for_socket(TOKEN, listening, "0.0.0.0")
        assert gate.knows("192.168.1.7:80")
        assert gate.knows("[fe80::1]:80")
        assert gate.knows(socket.gethostname())
        assert not gate.knows("evil.example")
    assert Gate.same_origin("http://LOCALHOST:1", "localhost:1")
    assert not Gate.same_origin("http://localhost", "localhost:1")
    assert not Gate.same_origin("", "")
    assert Gate.cookie_name("[::1]:8000") == "assetforge-8000"
    assert is_loopback("127.8.9.1")
    assert not is_loopback("10.0.0.1")


def test_a_socket_that_cannot_be_had_is_one_sentence():
    with listen("localhost", 0) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(BusyError, match=rf"Port {port} is taken"):
            listen("127.0.0.1", port)
    with pytest.raises(UsageError, match="There is no address"):
        listen("no.such.name.invalid", 0)
    with pytest.raises(UsageError, match="cannot be listened on"):
        listen("192.0.2.1", 0)
    with pytest.raises(UsageError, match="70000 is no port"):
        listen("127.0.0.1", 70000)


def test_a_token_file_is_the_owners_alone(tmp_path):
    path = tmp_path / "token"
    token = token_from_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert token_from_file(path) == token
    path.chmod(0o640)
    with pytest.raises(UsageError, match="can be read or changed by others"):
        token_from_file(path)
    path.chmod(0o600)
    path.write_text("short\n")
    with pytest.raises(UsageError, match="holds no token"):
        token_from_file(path)
    with pytest.raises(UsageError, match="cannot be made"):
        token_from_file(tmp_path / "nowhere" / "token")
    with pytest.raises(UsageError, match="cannot be read"):
        token_from_file(tmp_path)
    assert len(new_token()) >= 43
    assert new_token() != new_token()


@asynccontextmanager
async def command(*words, stderr=subprocess.PIPE):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "assetforge", "serve", *words, stdout=subprocess.PIPE, stderr=stderr
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_the_command_tells_where_it_listens_and_ends_on_ctrl_c(project):
    async with command("--project", project.name, "--json") as process:
        document = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
        assert document["schema"] == "assetforge/serve/1"
        assert document["host"] == "127.0.0.1"
        assert document["film"] == str(project.root)
        address, _, token = document["address"].partition("/?token=")
        assert address == f"http://127.0.0.1:{document['port']}"
        assert len(token) >= 43
        async with aiohttp.ClientSession() as client, client.get(address) as answer:
            assert answer.status == 403
        assert token not in " ".join(psutil.Process(process.pid).cmdline())
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
        assert time.monotonic() - began < 3.0
        assert (process.returncode, out, err) == (0, b"", b"")


async def test_opening_the_browser_does_not_tell_whoever_lists_processes(tmp_path, monkeypatch, home):
    told = tmp_path / "told"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {told}.new; mv {told}.new {told}\n')
    browser.chmod(0o700)
    monkeypatch.setenv("BROWSER", str(browser))
    monkeypatch.setenv("DISPLAY", ":7")
    async with command("--json", "--open", "--token-file", str(tmp_path / "token")) as process:
        document = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
        token = (tmp_path / "token").read_text().strip()
        assert document["address"].endswith(f"/?token={token}")
        async with asyncio.timeout(10):
            while not told.exists():
                await asyncio.sleep(0.05)
        page = home / "cache" / f"serve-{document['port']}.html"
        assert told.read_text().strip() == page.as_uri()
        assert page.stat().st_mode & 0o777 == 0o600
        assert document["address"] in page.read_text()
        process.terminate()
        _, err = await process.communicate()
        assert (process.returncode, err) == (0, b"")
        assert not page.exists()


async def test_a_command_that_is_not_there_is_said(tmp_path):
    async with serving([str(tmp_path / "nothing")]) as served, served.tab() as websocket:
        assert "stopped unexpectedly" in await until(websocket, "farewell")
        assert "could not be started" in served.complaints[0]


async def test_other_machines_are_let_in_only_with_a_warning():
    async with command("--host", "0.0.0.0", "--quiet") as process:
        address = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
        assert address.startswith(f"http://{socket.gethostname()}:")
        process.terminate()
        _, err = await process.communicate()
        assert b"not encrypted" in err
        assert b"ssh -L" in err
        assert process.returncode == 0


async def test_a_film_that_is_not_there_is_said_before_anything_listens():
    async with command("--project", "nothing") as process:
        _, err = await process.communicate()
        assert b"There is no film named 'nothing'." in err
        assert process.returncode == 3
