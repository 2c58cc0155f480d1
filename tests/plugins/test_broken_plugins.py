"""Broken plugins cost themselves, are named with the reason, and everything else works."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from assetforge.api.events import VersionCreated
from assetforge.errors import NotFoundError, PluginError

HERE = Path(__file__).parent
ALL = sorted(folder.name for folder in (HERE / "broken").iterdir() if folder.is_dir() and folder.name != "exits_hard")

REASONS = {
    "raises_on_import": ("import", "a_library_that_nobody_has"),
    "raises_in_hook": ("hook", "register_trainers: ZeroDivisionError"),
    "wrong_arguments": ("register", "model"),
    "misspelt_hook": ("register", "did you mean register_trainers?"),
    "newer_api": ("register", "99"),
    "exits": ("import", "tried to exit the program (no licence)"),
    "interrupts": ("import", "KeyboardInterrupt"),
    "wraps": ("register", "wrappers"),
    "names_a_class": ("register", "instance"),
    "evil_objects": ("value", "cannot be looked at: RuntimeError"),
    "evil_error": ("import", "Wordless"),
    "gives_twice": ("value", "gives 'twin' twice"),
    "returns_garbage": ("value", "not a list of TrainerSpec"),
}


@pytest.mark.parametrize("name", REASONS)
def test_a_broken_plugin_is_quarantined_with_its_reason(with_plugins, name) -> None:
    registry = with_plugins(name, "listener")
    stage, reason = REASONS[name]
    (failure,) = registry.failures
    assert (failure.name, failure.distribution) == (name.replace("_", "-"), f"assetforge-{name.replace('_', '-')}")
    assert failure.stage == stage
    assert reason in failure.reason
    states = {plugin.candidate.name: plugin.state for plugin in registry.plugins}
    assert states[failure.name] == "quarantined"
    assert states["listener"] == states["builtin"] == "active"
    assert {entry.spec.name for entry in registry.asset_types()} == {"character", "prop", "style"}


@pytest.mark.parametrize("name", ["raises_on_import", "raises_in_hook", "exits"])
def test_the_plugins_own_traceback_is_kept(with_plugins, name) -> None:
    (failure,) = with_plugins(name).failures
    assert f"af_{name}.py" in failure.traceback


def test_every_piece_of_garbage_is_named(with_plugins) -> None:
    (failure,) = with_plugins("returns_garbage").failures
    for piece in ("Bad Name", "../outside", "RecipeSpec", "SuiteSpec", "just.a.module", "dict"):
        assert piece in failure.reason


def test_a_slow_plugin_works_and_is_named_with_its_time(with_plugins, find) -> None:
    registry = with_plugins("slow")
    assert registry.asset_type("glacier").owner == "slow"
    assert find(registry, "slow").warnings[0].startswith("slow: its import took ")


@pytest.mark.parametrize(("name", "stage"), [("hanging", "import"), ("hanging_hook", "hook")])
def test_a_plugin_that_hangs_is_left_behind(with_plugins, find, monkeypatch, name, stage) -> None:
    monkeypatch.setenv("ASSETFORGE_PLUGIN_TIMEOUT", "1.5")
    registry = with_plugins(name, "listener")
    (failure,) = registry.failures
    assert failure.stage == stage
    assert "did not end within" in failure.reason
    assert f"af_{name}.py" in failure.traceback
    assert find(registry, "listener").state == "active"


def test_a_name_that_two_plugins_give_is_used_by_neither(with_plugins) -> None:
    registry = with_plugins("rival_one", "rival_two")
    assert {failure.name: failure.stage for failure in registry.failures} == {
        "rival-one": "collision",
        "rival-two": "collision",
    }
    for failure in registry.failures:
        assert "vehicle" in failure.reason
    assert registry.asset_type("boat").plugin == "assetforge-rival-one"
    with pytest.raises(PluginError) as refused:
        registry.asset_type("vehicle")
    assert "rival-one" in str(refused.value)
    assert "rival-two" in str(refused.value)


def test_a_plugin_without_hooks_is_told_about_the_marker(with_plugins, find) -> None:
    registry = with_plugins("no_hooks")
    assert "@hookimpl" in find(registry, "no-hooks").warnings[0]


def test_what_a_plugin_prints_does_not_reach_stdout(with_plugins, find, capsys) -> None:
    registry = with_plugins("chatty")
    assert registry.asset_type("parrot").owner == "chatty"
    assert "stdout" in find(registry, "chatty").warnings[0]
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "Thank you for using chatty!\nRegistering...\n"


def test_a_spec_may_be_a_subclass(with_plugins) -> None:
    registry = with_plugins("own_spec_class")
    assert registry.asset_type("rich").spec.icon == "*"
    assert registry.failures == ()


def test_a_listener_that_raises_changes_nothing_for_the_others(with_plugins, tmp_path, utc_now) -> None:
    registry = with_plugins("bad_listener", "listener")
    event = VersionCreated(project=tmp_path, at=utc_now, actor="test", version="mara/v1")
    registry.notify(event)
    registry.notify(event)
    assert sys.modules["af_listener"].heard == [event, event]
    assert [failure.stage for failure in registry.failures] == ["event", "event"]
    assert "did not expect VersionCreated" in registry.failures[0].reason


def test_an_unknown_name_points_at_close_matches_and_broken_plugins(with_plugins) -> None:
    registry = with_plugins("raises_on_import")
    with pytest.raises(NotFoundError, match=r"character.*raises-on-import"):
        registry.asset_type("charakter")


@pytest.mark.parametrize("name", ["raises_on_import", "raises_in_hook", "misspelt_hook", "exits"])
def test_strict_mode_raises_for_the_ci_of_authors(with_plugins, monkeypatch, name) -> None:
    monkeypatch.setenv("ASSETFORGE_STRICT_PLUGINS", "1")
    with pytest.raises(PluginError, match=name.replace("_", "-")):
        with_plugins(name)


def _run(*words: str, names: Sequence[str] = ALL, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(str(HERE / "broken" / name) for name in names)
    return subprocess.run(
        [sys.executable, "-m", "assetforge", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )


def _listed(result: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    document = json.loads(result.stdout)
    assert document["schema"] == "assetforge/plugin-list/1"
    return {plugin["name"]: plugin for plugin in document["plugins"]}


def test_the_program_lists_all_of_them_at_once() -> None:
    names = [name for name in ALL if not name.startswith("hanging")]
    plugins = _listed(_run("plugin", "list", "--json", names=names, ASSETFORGE_PLUGIN_TIMEOUT="90"))
    assert plugins["builtin"]["state"] == "active"
    for name in names:
        told = plugins[name.replace("_", "-")]
        if name not in {"bad_commands", "bad_listener"}:
            assert told["reason"] or told["warnings"], name
        if name in REASONS:
            assert told["state"] == "quarantined"
            assert REASONS[name][1] in told["reason"]
    assert any("torch" in warning for warning in plugins["imports-torch"]["warnings"])
    assert plugins["imports-torch"]["state"] == "active"


def test_the_program_ends_although_plugins_hang() -> None:
    # The time limit of the process is the assertion.
    names = ["hanging", "hanging_hook"]
    plugins = _listed(_run("plugin", "list", "--json", names=names, ASSETFORGE_PLUGIN_TIMEOUT="0.5"))
    assert [plugins[name.replace("_", "-")]["state"] for name in names] == ["quarantined", "quarantined"]


@pytest.mark.slow
def test_work_goes_on_with_all_of_them(home) -> None:
    environment = {"ASSETFORGE_PLUGIN_TIMEOUT": "0.5"}
    assert _run("project", "new", "harbour", **environment).returncode == 0
    added = _run("asset", "add", "mara", "--type", "character", "--json", **environment)
    assert added.returncode == 0, added.stderr
