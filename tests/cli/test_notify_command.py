"""notify as a user types it."""

import json
import shutil
from datetime import UTC, datetime

import pytest

from assetforge.api.events import VersionCreated
from assetforge.builtin.notify.outbox import Delivery, Outbox
from assetforge.builtin.notify.wording import Notification
from assetforge.cli.app import run


@pytest.fixture
def cli(capsys):
    """``cli(words...)`` runs a command line and returns (exit code, document or text, stderr)."""

    def call(*words):
        capsys.readouterr()
        code = run(list(words))
        out, err = capsys.readouterr()
        return code, json.loads(out) if "--json" in words and out else out, err

    return call


def test_nothing_is_set_up(cli, home):
    code, _, err = cli("notify", "test")
    assert code == 2
    assert str(home / "config.toml") in err


def test_every_channel_says_how_it_went(cli, home):
    (home / "config.toml").write_text('[notify]\ncommand = ["echo", "told"]\n')
    code, text, _ = cli("notify", "test")
    assert code == 0
    assert "command" in text
    assert "told" in text
    (home / "config.toml").write_text('[notify]\ncommand = ["false"]\n')
    code, document, err = cli("notify", "test", "--json")
    assert code == 1
    assert document["schema"] == "assetforge/notify-test/1"
    assert document["channels"] == [
        {"channel": "command", "sent": False, "problem": "false ended with code 1", "output": ""}
    ]
    assert "Not every notification was sent: command: false ended with code 1." in err


def test_wrong_settings(cli, home):
    (home / "config.toml").write_text("[notify]\ndesktpo = true\n")
    code, _, err = cli("notify", "test")
    assert code == 2
    assert "Did you mean 'desktop'?" in err


def test_what_waits_is_listed(cli, project):
    code, text, err = cli("notify", "list")
    assert (code, text) == (0, "")
    assert "Nothing waits" in err
    event = VersionCreated(project=project.root, at=datetime.now(UTC), actor="ada", version="mara/v2")
    outbox = Outbox(project.paths)
    outbox.put(Notification.of(event), ["webhook"])
    (pending,) = outbox.pending()[0]
    pending.deliveries["webhook"] = Delivery(2, pending.queued + 60, "chat.example.org answered 502")
    outbox.save(pending, pending.queued + 60)
    code, document, _ = cli("notify", "list", "--json")
    assert code == 0
    (told,) = document["waiting"]
    assert (told["event"], told["channel"], told["tries"]) == ("version-created", "webhook", 2)
    assert told["problem"] == "chat.example.org answered 502"
    assert "mara/v2 is there" in cli("notify", "list")[1]
    shutil.rmtree(outbox.folder)
