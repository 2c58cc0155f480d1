"""What is found, what is left out, what is required, and what loading costs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from assetforge.errors import ConfigError, NotFoundError, PluginError
from assetforge.extension.decisions import change_decisions
from assetforge.extension.discovery import installed_plugins
from assetforge.extension.registry import get_registry, load, load_registry, reset_registry
from assetforge.extension.required import check_required

HERE = Path(__file__).parent


def states(registry) -> dict[str, str]:
    return {plugin.candidate.name: plugin.state for plugin in registry.plugins}


def test_names_and_versions_come_without_importing(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(HERE / "broken" / "raises_on_import"))
    found = {candidate.name: candidate for candidate in installed_plugins()}
    assert found["raises-on-import"].version == "1.0"
    assert found["raises-on-import"].distribution == "assetforge-raises-on-import"
    assert "af_raises_on_import" not in sys.modules
    assert next(iter(found)) == "builtin"


def test_the_environment_restricts_what_is_loaded(with_plugins, monkeypatch) -> None:
    with_plugins("listener")
    monkeypatch.setenv("ASSETFORGE_PLUGINS", "none")
    assert states(load_registry())["listener"] == "skipped"
    assert states(load_registry())["builtin"] == "active"
    monkeypatch.setenv("ASSETFORGE_PLUGINS", "other, listener")
    assert states(load_registry())["listener"] == "active"


def test_what_the_user_disabled_is_not_imported(with_plugins, monkeypatch) -> None:
    with change_decisions() as decisions:
        decisions.disabled.add("raises-on-import")
    registry = with_plugins("raises_on_import")
    assert states(registry)["raises-on-import"] == "disabled"
    assert registry.failures == ()


def test_two_distributions_with_one_plugin_name_are_both_left_out(with_plugins, monkeypatch, tmp_path) -> None:
    about = tmp_path / "twin-2.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: twin\nVersion: 2.0\n")
    (about / "entry_points.txt").write_text("[assetforge.plugins]\nlistener = af_twin\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = with_plugins("listener")
    assert [failure.stage for failure in registry.failures] == ["discover", "discover"]
    assert all("twin" in failure.reason and "assetforge-listener" in failure.reason for failure in registry.failures)


def test_the_registry_is_loaded_once(with_plugins) -> None:
    with_plugins()
    reset_registry()
    assert get_registry() is get_registry()


def test_load_names_what_cannot_be_loaded() -> None:
    assert load("assetforge.errors:PluginError") is PluginError
    for target in ("no_such_module:Thing", "assetforge.errors:NoSuchThing"):
        with pytest.raises(PluginError, match=target.replace(".", r"\.")):
            load(target)


@pytest.mark.parametrize("limit", ["soon", "0", "-1", "inf"])
def test_a_time_limit_that_is_none_is_refused(with_plugins, monkeypatch, limit) -> None:
    monkeypatch.setenv("ASSETFORGE_PLUGIN_TIMEOUT", limit)
    with pytest.raises(ConfigError, match="ASSETFORGE_PLUGIN_TIMEOUT"):
        load_registry()


def test_required_plugins_fail_loudly(with_plugins) -> None:
    registry = with_plugins("listener", "raises_on_import")
    check_required(registry, [])
    check_required(registry, ["builtin", "listener", "assetforge_listener>=1.0"])
    with pytest.raises(PluginError) as refused:
        check_required(registry, ["assetforge-nowhere", "listener>=1.1", "raises-on-import"])
    for piece in ("assetforge-nowhere is not installed", "listener>=1.1 is needed, 1.0", "a_library_that_nobody_has"):
        assert piece in str(refused.value)
    with pytest.raises(ConfigError, match="listener==1"):
        check_required(registry, ["listener==1"])


def test_builtin_things_are_there(with_plugins) -> None:
    registry = with_plugins()
    assert registry.asset_type("prop").spec.folder == "props"
    with pytest.raises(NotFoundError, match="trainer"):
        registry.trainer("nobody")
    for entry in (*registry.metrics(), *registry.exporters(), *registry.executors(), *registry.captioners()):
        assert entry.plugin == "assetforge-film"
        load(entry.spec.load)


def test_loading_every_installed_plugin_imports_no_framework() -> None:
    code = (
        "import sys\n"
        "from assetforge.extension.overview import report_plugins\n"
        "from assetforge.extension.registry import get_registry\n"
        "registry = get_registry()\n"
        "reports = report_plugins(registry)\n"
        "assert not registry.failures, registry.failures\n"
        "warnings = [warning for report in reports for warning in report.warnings if not warning.startswith('slow')]\n"
        "assert not warnings, warnings\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'peft', 'accelerate', 'textual'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "print(len(reports))\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "ASSETFORGE_PLUGINS"}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) >= 1
