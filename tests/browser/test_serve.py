"""`assetforge serve` in a browser: the page, the keyboard, the mouse, and what somebody without the token sees."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psutil
import pytest
from PIL import Image as Pillow

from assetforge.services.assets import add_asset
from assetforge.services.ingest import add_references
from assetforge.services.projects import create_project

# The page keeps its terminal to itself, and gets nothing for the sake of tests: this catches the terminal when the page makes it.
CATCH = """
Object.defineProperty(Object.prototype, "weblinksAddon", {
  configurable: true,
  set(value) {
    Object.defineProperty(this, "weblinksAddon", { value, writable: true });
    window.caught = this.terminal;
  },
});
window.screenText = () => {
  const active = window.caught?.buffer.active;
  return active ? Array.from({ length: caught.rows }, (_, row) => active.getLine(row)?.translateToString(true) ?? "").join("\\n") : "";
};
"""
TITLE = "Night Harbour [b] of $HOME; two"
ENDED = "document.getElementById('end')?.open === true"
OPENS = """new Promise((done) => {
  const socket = new WebSocket("URL");
  socket.onopen = () => done("open");
  socket.onclose = () => done("refused");
})"""
FRAMES = """new Promise((done) => {
  const frame = document.body.appendChild(document.createElement("iframe"));
  frame.onload = () => { try { done(frame.contentDocument.body.innerText) } catch { done("nothing") } };
  frame.src = "URL";
})"""
REFUSED = "This needs the address that `assetforge serve` printed."
SAFELIGHT = (18, 16, 16)
SAID = "document.getElementById('end').textContent"


@pytest.fixture
def film(home, make_png, tmp_path):
    """A film with two characters, one of them with pictures."""
    with create_project("night-harbour", title=TITLE) as project:
        for name in ("mara", "ilse"):
            add_asset(project, name, "character", trigger=f"{name}vr")
        for seed in range(4):
            make_png(tmp_path / "in" / f"{seed}.png", seed)
        add_references(project, "mara", [tmp_path / "in"])
        yield project


@contextmanager
def serving(*words):
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    command = [sys.executable, "-m", "assetforge", "serve", "--json", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        yield json.loads(process.stdout.readline()), process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
        assert (out, err) == ("", "")
        assert process.returncode == 0


@pytest.fixture
def page(browser):
    """The browser as somebody has it who was never here."""
    browser.call("Network.clearBrowserCookies")
    caught = browser.call("Page.addScriptToEvaluateOnNewDocument", source=CATCH)["identifier"]
    browser.requests.clear()
    browser.errors.clear()
    yield browser
    browser.call("Page.removeScriptToEvaluateOnNewDocument", identifier=caught)
    browser.call("Page.navigate", url="about:blank")
    browser.until("location.href === 'about:blank'")


def go_size(page, width, height):
    page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)


def go(page, address):
    go_size(page, 1440, 900)
    page.call("Page.navigate", url=address)
    page.until("document.readyState === 'complete' && location.protocol === 'http:'")


def shows(page, text, seconds=30.0):
    page.until(f"screenText().includes({json.dumps(text)})", seconds)


def cell_of(page, text):
    """The middle of some text on the screen, in pixels."""
    lines = page.get("screenText()").splitlines()
    row = next(number for number, line in enumerate(lines) if text in line)
    column = lines[row].index(text) + len(text) / 2
    box = "(({x, y, width, height}) => [x, y, width, height])(document.querySelector('.xterm-screen').getBoundingClientRect())"
    x, y, width, height = page.get(box)
    columns, rows = page.get("[caught.cols, caught.rows]")
    return x + width / columns * column, y + height / rows * (row + 0.5)


def click(page, text):
    x, y = cell_of(page, text)
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    for kind in ("mousePressed", "mouseReleased"):
        page.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)


def control(page, key):
    code = {"code": f"Key{key.upper()}", "key": key, "windowsVirtualKeyCode": ord(key.upper()), "modifiers": 2}
    page.call("Input.dispatchKeyEvent", type="rawKeyDown", **code)
    page.call("Input.dispatchKeyEvent", type="keyUp", **code)


def programs(process):
    return psutil.Process(process.pid).children(recursive=True)


def corners(page, path):
    page.screenshot(path)
    with Pillow.open(path) as image:
        shown = image.convert("RGB")
        wide, high = shown.width - 1, shown.height - 1
        return {shown.getpixel(point) for point in ((wide, 0), (0, high), (wide, high), (wide, high // 2))}


def test_the_film_opens_and_keys_and_mouse_work(page, film, tmp_path):
    with serving("--project", str(film.root)) as (served, process):
        go(page, served["address"])
        shows(page, TITLE)
        shows(page, "mara")
        # The token is neither in the address nor where scripts of the page could read it.
        assert page.get("location.href") == f"http://127.0.0.1:{served['port']}/"
        assert page.get("document.cookie") == ""
        assert page.get("document.title") == "night-harbour · assetforge"
        page.press("?")
        shows(page, "Show all films.")
        page.press("Escape")
        page.until("!screenText().includes('Show all films.')")
        # The browser would print.
        before = page.get("screenText()")
        control(page, "p")
        page.until(f"screenText() !== {json.dumps(before)}")
        page.press("Escape")
        page.until(f"screenText() === {json.dumps(before)}")
        assert "trigger ilsevr" in before
        click(page, "mara")
        shows(page, "trigger maravr")
        # It fits the window whatever its size, to the edges, without scrollbars.
        for width, height in ((1447, 911), (805, 487)):
            go_size(page, width, height)
            page.until(
                "caught.cols * 9 < innerWidth + 9 && document.querySelector('.xterm-screen').offsetWidth > innerWidth - 11"
                " && document.querySelector('.xterm-screen').offsetHeight > innerHeight - 21"
            )
            assert page.get("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]") == [
                width,
                height,
            ]
            assert page.get("document.querySelector('.xterm-viewport').clientWidth") == width
        time.sleep(0.5)
        assert corners(page, tmp_path / "corners.png") == {SAFELIGHT}
        assert all(url.startswith(f"http://127.0.0.1:{served['port']}/") for url in page.requests)
        (first,) = programs(process)
        page.press("q")
        page.until(ENDED)
        assert "The program has ended." in page.get(SAID)
        page.press("Enter")
        page.until(f"!({ENDED}) && screenText().includes('mara')")
        (second,) = programs(process)
        assert second.pid != first.pid
        page.call("Page.navigate", url="about:blank")
        until(lambda: not programs(process))
    assert [one for one in page.errors if one.get("source") != "rendering"] == []


def test_a_film_can_be_chosen_and_the_end_of_the_server_is_said(page, film):
    with serving() as (served, process):
        go(page, served["address"])
        shows(page, TITLE)
        page.press("Enter")
        shows(page, "mara")
        (program,) = programs(process)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.wait(5)
        assert time.monotonic() - began < 3.0
        assert not program.is_running()
        page.until(ENDED)
        assert "The server has stopped." in page.get(SAID)
        page.press("Enter")
        page.until(f"{SAID}.includes('The server does not answer.')")


def test_a_program_does_not_outlive_a_server_that_is_killed(page, film):
    with serving("--project", str(film.root)) as (served, process):
        go(page, served["address"])
        shows(page, "mara")
        (program,) = programs(process)
        process.kill()
        process.wait()
        process.returncode = 0
        until(lambda: not program.is_running() or program.status() == psutil.STATUS_ZOMBIE)
        page.until(ENDED)
        assert "The connection is lost." in page.get(SAID)


@pytest.mark.parametrize("question", ["", "?token=", "?token=wrong"])
def test_a_wrong_token_or_none_gets_nothing(page, question):
    with serving() as (served, process):
        address = f"http://127.0.0.1:{served['port']}/"
        go(page, address + question)
        assert page.get("document.body.innerText").strip() == REFUSED
        assert page.get(OPENS.replace("URL", f"ws://127.0.0.1:{served['port']}/socket")) == "refused"
        assert page.get(f"fetch('{address}static/textual.js').then((answer) => answer.status)") == 403
        assert programs(process) == []


def test_other_pages_reach_nothing_although_the_browser_has_the_cookie(page, film):
    with (
        serving("--project", str(film.root)) as (served, process),
        elsewhere(f'<a href="{served["address"]}">in</a>') as foreign,
    ):
        home = f"http://127.0.0.1:{served['port']}"
        go(page, served["address"])
        shows(page, TITLE)
        # The same machine by another port is another origin of the same site: only what it says of itself keeps it out.
        for host in ("127.0.0.1", "localhost"):
            go(page, foreign.replace("127.0.0.1", host))
            assert page.get(OPENS.replace("URL", f"{home.replace('http', 'ws')}/socket")) == "refused"
            assert page.get(f"fetch('{home}/').then(() => 'read', () => 'refused')") == "refused"
            assert page.get(FRAMES.replace("URL", home)) == "nothing"
        until(lambda: not programs(process))
        # A name that somebody else's server gives to our address.
        go(page, f"http://rebound.localhost:{served['port']}/")
        assert page.get("document.body.innerText").strip() == REFUSED
        # A link with the token is an invitation wherever it stands.
        page.call("Network.clearBrowserCookies")
        go(page, foreign.replace("127.0.0.1", "localhost"))
        page.get("document.querySelector('a').click()")
        page.until("location.pathname === '/' && window.screenText && screenText() !== ''")
        shows(page, TITLE)
        assert page.get("location.href") == f"{home}/"


@contextmanager
def elsewhere(text):
    """A web server of somebody else, with one page."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def until(true, seconds=10.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)
