"""Notifications: what is kept, what is sent, how often, and what happens when somebody is killed on the way."""

import hashlib
import hmac
import http.server
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from assetforge.api import events
from assetforge.builtin.notify import channels, outbox, sender, webhook
from assetforge.builtin.notify.listener import deliver_pending, hear
from assetforge.builtin.notify.outbox import Outbox
from assetforge.builtin.notify.settings import NotifyConfig, known_events, load_notify_settings
from assetforge.builtin.notify.wording import Notification, sentence
from assetforge.config import load_settings
from assetforge.durable import locked
from assetforge.errors import ConfigError
from assetforge.paths import ProjectPaths
from assetforge.services import activity
from assetforge.services.project_config import read_config

AWKWARD = 'says "no" & <b>goes</b>\n\\n $(touch x) `id` – ünï\x00\x1b'


@dataclass
class Receiver:
    """A web server that writes down what it gets, and answers what it is told to."""

    url: str = ""
    answers: list = field(default_factory=list)
    got: list = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)

    def wait_for(self, count, limit_s=10.0):
        end = time.monotonic() + limit_s
        while len(self.got) < count:
            assert time.monotonic() < end, f"{len(self.got)} of {count} arrived"
            time.sleep(0.02)
        return self.got


@pytest.fixture
def receiver(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    record = Receiver()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            record.got.append((self.path, self.headers, body))
            answer, headers = record.answers.pop(0) if record.answers else (204, {})
            if answer == "hang":
                record.hold.wait(20)
                return
            self.send_response(answer)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        do_GET = do_POST  # noqa: N815 - named by http.server

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    record.url = f"http://127.0.0.1:{server.server_port}/hook?token=hidden"
    yield record
    record.hold.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def paths(tmp_path):
    found = ProjectPaths(tmp_path / "film")
    found.private.mkdir(parents=True)
    return found


@pytest.fixture
def configured(home, receiver):
    def write(**values):
        lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        (home / "config.toml").write_text("\n".join(["[notify]", *lines]) + "\n")

    write(webhook=receiver.url, webhook_secret="s3cret")
    return write


def finished(paths, run=7, error=""):
    state = "failed" if error else "succeeded"
    return events.RunFinished(
        project=paths.root, at=datetime.now(UTC), actor="ada", run=run, asset="mara", state=state, error=error
    )


def put(paths, run=7, error=""):
    """Keep a notification without starting a sender."""
    Outbox(paths).put(Notification.of(finished(paths, run, error)), load_notify_settings().channels)


def waiting(paths):
    return Outbox(paths).pending()[0]


def start_sender(paths):
    command = [sys.executable, "-P", "-m", "assetforge.builtin.notify.sender", str(paths.root)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)


def ended(paths, limit_s=10.0):
    """Wait until no sender works on the outbox and nothing is left in it."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if not waiting(paths):
            with locked(Outbox(paths).lock):
                return
        time.sleep(0.05)
    raise AssertionError(waiting(paths))


def test_names_and_sentences_of_every_event(paths):
    assert {"run-finished", "watch-root-lost", "files-quarantined", "retrain-proposed"} <= set(known_events())
    assert set(NotifyConfig().events) <= set(known_events())
    common = {"project": paths.root, "at": datetime.now(UTC), "actor": "ada"}
    lost = events.WatchRootLost(**common, asset="mara", folder=Path("/mnt/art"))
    assert sentence(lost) == "The watched folder /mnt/art of mara cannot be reached."

    class MoonRose(events.Event):
        pass

    assert sentence(MoonRose(**common)) == "Moon rose."
    told = Notification.of(
        events.ComparisonReady(**common, version="v", baseline="b", report=Path("/r"), summary={"x": float("nan")})
    )
    assert told.event == "comparison-ready"
    assert told.data == {
        "version": "v",
        "baseline": "b",
        "verdict": "",
        "headline": "",
        "report": "/r",
        "summary": {"x": None},
    }


def test_an_event_arrives_signed_in_the_background(paths, receiver, configured):
    hear(finished(paths, error=AWKWARD))
    ((path, headers, body),) = receiver.wait_for(1)
    assert path == "/hook?token=hidden"
    assert headers["X-Assetforge-Event"] == "run-finished"
    stamp = headers["X-Assetforge-Timestamp"]
    assert abs(int(stamp) - time.time()) < 60
    expected = hmac.new(b"s3cret", stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers["X-Assetforge-Signature"] == f"sha256={expected}"
    document = json.loads(body)
    assert document["schema"] == "assetforge/notification/1"
    assert document["id"] == headers["X-Assetforge-Delivery"]
    assert (document["film"], document["folder"], document["actor"]) == ("film", str(paths.root), "ada")
    assert document["data"] == {"run": 7, "asset": "mara", "state": "failed", "error": AWKWARD}
    assert "\n" not in document["text"]
    ended(paths)
    assert len(receiver.got) == 1


def test_the_plugin_hears_what_services_publish(project, receiver, configured):
    activity.publish(project, finished(project.paths))
    receiver.wait_for(1)
    ended(project.paths)


def test_nothing_is_kept_or_sent_without_settings(paths, home, monkeypatch):
    monkeypatch.setattr(os, "posix_spawn", lambda *_, **__: pytest.fail("started something"))
    hear(finished(paths))
    (home / "config.toml").write_text("[defaults]\nexecutor = 'local'\n")
    hear(finished(paths))
    assert not paths.outbox.exists()
    assert not deliver_pending(paths)
    began = time.perf_counter()
    for _ in range(100):
        hear(finished(paths))
        deliver_pending(paths)
    assert (time.perf_counter() - began) / 100 < 0.005


def test_only_the_events_that_are_wanted(paths, receiver, configured, monkeypatch):
    monkeypatch.setattr("assetforge.builtin.notify.listener._start_sender", lambda *_: True)
    configured(webhook=receiver.url, events=["version-created"])
    hear(finished(paths))
    assert not waiting(paths)
    configured(webhook=receiver.url, events=["all"])
    hear(finished(paths))
    assert len(waiting(paths)) == 1


def test_the_environment_goes_before_the_file(configured, monkeypatch):
    monkeypatch.setenv("ASSETFORGE_NOTIFY__WEBHOOK_SECRET", "other")
    monkeypatch.setenv("ASSETFORGE_NOTIFY__COMMAND", '["notify.sh", "--x"]')
    settings = load_notify_settings()
    assert settings.secret() == b"other"
    assert settings.command == ("notify.sh", "--x")
    assert "other" not in repr(settings)
    assert load_settings()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('webhook = "file:///etc/passwd"', "must be an address"),
        ('webhook = "https://u:p@example.org/"', "webhook_secret"),
        ('webhook = "https://exa mple.org/"', "must be an address"),
        ('command = "notify.sh"', "notify.command"),
        ('command = ["./notify.sh"]', "begins with /"),
        ('events = ["run-finishd"]', "'run-finished'"),
        ('webhook_secret = "a"\nwebhook_secret_file = "b"', "exclude each other"),
        ("desktpo = true", "desktop"),
    ],
)
def test_wrong_settings_are_told_in_one_sentence(home, line, said):
    (home / "config.toml").write_text(f"[notify]\n{line}\n")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert said in str(caught.value)
    with pytest.raises(ConfigError):
        load_notify_settings()


def test_a_film_cannot_ask_for_notifications(project, home):
    with project.paths.config.open("a") as file:
        file.write('\n[notify]\ncommand = ["touch", "/tmp/x"]\n')
    with pytest.raises(ConfigError, match="cannot be set in a film") as caught:
        read_config(project.paths.config)
    assert str(home / "config.toml") in caught.value.hint


def test_wrong_settings_never_disturb_who_publishes(paths, home, caplog):
    (home / "config.toml").write_text("[notify]\ndesktop = 7\n")
    with caplog.at_level(logging.WARNING):
        hear(finished(paths))
    assert "Nobody is told about RunFinished" in caplog.text
    (home / "config.toml").write_text("[notify]\ndesktop = true\n")
    hear(finished(ProjectPaths(paths.root / "gone")))
    assert not (paths.root / "gone").exists()


def test_tried_again_after_a_failure_and_then_sent_once(paths, receiver, configured):
    receiver.answers = [(500, {})]
    put(paths)
    sender.work(paths)
    assert len(receiver.got) == 2
    assert receiver.got[0][1]["X-Assetforge-Delivery"] == receiver.got[1][1]["X-Assetforge-Delivery"]
    assert not waiting(paths)
    log = sender.log_file(paths).read_text()
    assert "127.0.0.1 answered 500; try 1, next in 1 s" in log
    assert "hidden" not in log


def test_retry_after_is_respected_for_everything_that_waits(paths, receiver, configured):
    receiver.answers = [(429, {"Retry-After": "600"})]
    put(paths, 1)
    put(paths, 2)
    sender.work(paths)
    assert len(receiver.got) == 1
    assert all(590 < one - time.time() < 601 for one in [Outbox(paths).next_due()])
    put(paths, 3)
    assert Outbox(paths).next_due() > time.time() + 590
    assert not deliver_pending(paths)
    assert len(waiting(paths)) == 3


@pytest.mark.parametrize(
    ("header", "seconds"), [("120", 120), ("-4", 0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("soon", None), ("", None)]
)
def test_forms_of_retry_after(header, seconds):
    assert webhook._seconds(header) == seconds


@pytest.mark.parametrize(("code", "headers"), [(404, {}), (302, {"Location": "http://127.0.0.1:1/other"}), (307, {})])
def test_what_will_never_work_is_dropped_and_redirects_are_not_followed(paths, receiver, configured, code, headers):
    receiver.answers = [(code, headers)]
    put(paths)
    sender.work(paths)
    assert len(receiver.got) == 1
    assert not waiting(paths)
    assert f"answered {code}" in sender.log_file(paths).read_text()


def test_dropped_after_a_day_and_after_many_tries(paths, receiver, configured, monkeypatch):
    put(paths)
    (pending,) = waiting(paths)
    pending.queued -= sender.LONGEST_WAIT_S
    Outbox(paths).save(pending, time.time())
    sender.work(paths)
    assert not waiting(paths)
    assert not receiver.got
    assert "for a day" in sender.log_file(paths).read_text()
    monkeypatch.setattr(sender, "MOST_TRIES", 1)
    receiver.answers = [(500, {})]
    put(paths)
    sender.work(paths)
    assert not waiting(paths)


def test_publishing_never_waits_for_a_server_that_hangs(paths, receiver, configured):
    receiver.answers = [("hang", {})] * 50
    took = []
    for run in range(20):
        began = time.perf_counter()
        hear(finished(paths, run))
        took.append(time.perf_counter() - began)
    assert sorted(took)[len(took) // 2] < 0.02
    assert max(took) < 1.0
    receiver.wait_for(1)
    assert not deliver_pending(paths)
    receiver.answers.clear()
    receiver.hold.set()
    ended(paths)
    assert {json.loads(body)["data"]["run"] for _, _, body in receiver.got} == set(range(20))


def test_a_killed_sender_loses_nothing(paths, receiver, configured):
    receiver.answers = [("hang", {})]
    put(paths)
    with start_sender(paths) as killed:
        receiver.wait_for(1)
        os.kill(killed.pid, signal.SIGKILL)
    assert len(waiting(paths)) == 1
    assert deliver_pending(paths)
    receiver.wait_for(2)
    ended(paths)
    first, second = (headers["X-Assetforge-Delivery"] for _, headers, _ in receiver.got)
    assert first == second


def test_settings_that_became_wrong_start_no_sender(paths, home, configured):
    put(paths)
    (home / "config.toml").write_text("[notify]\nwebhook = 7\n")
    assert not deliver_pending(paths)
    assert len(waiting(paths)) == 1


def test_two_senders_share_nothing(paths, receiver, configured):
    for run in range(30):
        put(paths, run)
    senders = [start_sender(paths) for _ in range(3)]
    for one in senders:
        with one:
            assert one.wait(15) == 0
    ended(paths)
    assert sorted(json.loads(body)["data"]["run"] for _, _, body in receiver.got) == list(range(30))


def test_what_arrives_while_a_sender_lets_go_is_sent_too(paths, receiver, configured, monkeypatch):
    put(paths, 1)
    quiet = sender._until_quiet

    def then_more(box, where):
        quiet(box, where)
        if len(receiver.got) == 1:
            put(paths, 2)

    monkeypatch.setattr(sender, "_until_quiet", then_more)
    sender.work(paths)
    assert len(receiver.got) == 2


def test_a_film_from_somebody_else_brings_nothing_to_send(paths, home, receiver, configured):
    put(paths)
    (home / "data" / "notify-id").unlink()
    assert not deliver_pending(paths)
    sender.work(paths)
    assert not receiver.got
    assert not waiting(paths)
    (home / "data" / "notify-id").write_text("damaged")
    assert outbox._OWNER.match(outbox._owner())


def test_files_that_cannot_be_read_are_dropped(paths, receiver, configured):
    put(paths)
    folder = Outbox(paths).folder
    (folder / "00-torn.json").write_bytes(b'{"notification": ')
    (folder / "01-other.json").write_bytes(b'["a"]')
    (folder / ".pauses").write_bytes(b"[1]")
    sender.work(paths)
    assert len(receiver.got) == 1
    assert not list(folder.glob("*.json"))
    assert "00-torn.json cannot be read" in sender.log_file(paths).read_text()


def test_a_channel_that_is_not_set_up_here_waits(paths, receiver, configured, home):
    put(paths)
    (home / "config.toml").unlink()
    sender.work(paths)
    assert len(waiting(paths)) == 1
    assert Outbox(paths).next_due() > time.time() + 80_000


def test_the_command_gets_the_event_and_its_output_is_kept(paths, configured, tmp_path):
    target = tmp_path / "got.json"
    script = (
        "import json, os, sys; facts = {k: v for k, v in os.environ.items() if k.startswith('ASSETFORGE_')};"
        "print('said'); json.dump([json.load(sys.stdin), facts, sys.argv[2:]], open(sys.argv[1], 'w'))"
    )
    configured(command=[sys.executable, "-c", script, str(target), "$(id)"])
    put(paths, error=AWKWARD)
    sender.work(paths)
    document, facts, arguments = json.loads(target.read_text())
    assert document["data"]["error"] == AWKWARD
    assert arguments == ["$(id)"]
    assert facts["ASSETFORGE_EVENT_NAME"] == "run-finished"
    assert facts["ASSETFORGE_EVENT_FOLDER"] == str(paths.root)
    assert "\x1b" not in facts["ASSETFORGE_EVENT_TEXT"]
    assert "said" in sender.log_file(paths).read_text()


def test_the_command_runs_at_home_without_the_secret_and_not_for_ever(paths, configured, monkeypatch):
    monkeypatch.setenv("ASSETFORGE_NOTIFY__WEBHOOK_SECRET", "hidden")
    monkeypatch.setattr(channels, "COMMAND_LIMIT_S", 0.2)
    told = Notification.of(finished(paths))

    def outcome(*command):
        return channels.send("command", told, NotifyConfig(command=command))

    assert outcome("pwd").output == str(Path.home())
    assert "hidden" not in outcome("env").output
    assert "did not end" in outcome("sleep", "30").problem
    assert "no program" in outcome("no-such-program").problem
    assert outcome("sh", "-c", "echo why; exit 3").problem == "sh ended with code 3 (why)"


def test_desktop_texts_are_never_markup(paths, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    tool = tmp_path / "bin" / "notify-send"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\nprintf '%s|' \"$@\"\n")
    tool.chmod(0o755)
    told = Notification.of(finished(paths, error=AWKWARD))
    monkeypatch.setenv("PATH", str(tool.parent))
    outcome = channels.send("desktop", told, NotifyConfig(desktop=True))
    option, separator, title, body, _ = outcome.output.split("|")
    assert (option, separator, title) == ("--app-name=assetforge", "--", "film")
    assert 'says "no" &amp; &lt;b&gt;goes&lt;/b&gt; \\\\n $(touch x) `id` – ünï' in body
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "not installed" in channels.send("desktop", told, NotifyConfig(desktop=True)).problem


def test_a_secret_in_a_file(paths, receiver, home, tmp_path, configured):
    configured(webhook=receiver.url, webhook_secret_file=str(tmp_path / "secret"))
    told = Notification.of(finished(paths))
    failed = channels.send("webhook", told, load_notify_settings())
    assert failed.again
    assert "secret cannot be read" in failed.problem
    (tmp_path / "secret").write_text("s3cret\n")
    assert not channels.send("webhook", told, load_notify_settings()).problem
    ((_, headers, body),) = receiver.got
    assert headers["X-Assetforge-Signature"] == webhook.signature(b"s3cret", headers["X-Assetforge-Timestamp"], body)
