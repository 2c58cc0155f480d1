"""settings as a user types it."""

import json

import pytest

from assetforge.cli.app import run


@pytest.fixture
def cli(capsys):
    """``cli(words...)`` runs a command line and returns (exit code, document or text, stderr)."""

    def call(*words):
        capsys.readouterr()
        code = run(["settings", *words])
        out, err = capsys.readouterr()
        return code, json.loads(out) if "--json" in words and out else out, err

    return call


def test_list_and_show(cli, project):
    code, text, _ = cli("list")
    assert code == 0
    assert "retrain.quiet_minutes" in text
    assert "10 min" in text
    code, document, _ = cli("list", "retrain", "--json")
    assert document["schema"] == "assetforge/settings-list/1"
    assert {one["section"] for one in document["settings"]} == {"retrain"}
    assert [file["where"] for file in document["files"]] == ["film", "user"]
    assert cli("list", "nix")[0] == 3
    code, text, _ = cli("show", "gc.grace_hours")
    assert "from 1 h" in text
    assert "ASSETFORGE_GC__GRACE_HOURS" in text
    assert cli("show", "gc.grace_hour")[0] == 3


def test_set_and_unset(cli, project, home):
    code, text, _ = cli("set", "retrain.quiet_minutes", "20 min")
    assert (code, text) == (0, f"retrain.quiet_minutes is 20 min now, in {project.paths.config}.\n")
    assert project.config.retrain.quiet_minutes == 20
    code, document, _ = cli("set", "retrain.quiet_minutes", "5", "--where", "user", "--json")
    assert (document["where"], document["file"], document["after"]) == ("user", str(home / "config.toml"), 5)
    code, text, _ = cli("list", "--changed")
    assert text.count("retrain.quiet_minutes") == 1
    assert cli("unset", "retrain.quiet_minutes")[0] == 0
    assert project.config.retrain.quiet_minutes == 5
    code, _, err = cli("set", "retrain.mode", "often")
    assert code == 2
    assert "must be off, ask or auto" in err
    assert cli("set", "tui.theme", "nord", "--where", "film")[0] == 2


def test_a_broken_film_can_be_mended(cli, project):
    project.paths.config.write_text('name = "film"\n[gc]\ngrace_hours = 0.1\n')
    code, text, err = cli("list", "gc")
    assert code == 0
    assert "0.1" in text
    assert "gc.grace_hours" in err
    assert cli("unset", "gc.grace_hours")[0] == 0
    assert cli("list", "gc")[2] == ""


def test_path_and_no_film(cli, home):
    code, text, _ = cli("path")
    assert (code, text) == (0, f"{home / 'config.toml'}\n")
    assert cli("path", "film")[0] == 2
    assert cli("set", "tui.motion", "no")[0] == 0
    assert "motion = false" in (home / "config.toml").read_text()
    assert cli("show", "approval.worst_cells")[0] == 3


def test_secrets_do_not_reach_the_screen(cli, home):
    cli("set", "notify.webhook_secret", "tiger")
    for words in (("list",), ("list", "--json"), ("show", "notify.webhook_secret")):
        _, shown, err = cli(*words)
        assert "tiger" not in f"{shown}{err}"
