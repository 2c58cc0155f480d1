"""A film's own plugins: nothing runs before it is trusted, and only what was trusted runs."""

import importlib.util
import json
import os
import py_compile
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from assetforge.errors import ConfigError, NotFoundError, PluginError
from assetforge.extension.decisions import decisions_file
from assetforge.extension.film_plugins import add_film_plugins, find_film_plugins, trust_film_plugin
from assetforge.extension.registry import load

COSTUME = """\
from pathlib import Path
from assetforge.api import hookimpl
from assetforge.api.specs import AssetTypeSpec, ExporterSpec

Path(__file__).with_suffix(".ran").touch()

@hookimpl
def register_asset_types():
    return [AssetTypeSpec(name="costume", title="Costume", folder="costumes", class_word="costume")]
"""

TRAINER = """\
from assetforge.api import hookimpl
from assetforge.api.specs import TrainerSpec

@hookimpl
def register_trainers():
    return [TrainerSpec(name="own", title="Own", load="af_film_trainer:Own", families=("sd15",))]
"""


@pytest.fixture
def load_film(with_plugins, monkeypatch):
    """Load the builtin plugin and those of a film."""

    def load_film(film: Path):
        registry = with_plugins()
        monkeypatch.delenv("ASSETFORGE_PLUGINS")
        add_film_plugins(registry, film)
        return registry

    return load_film


@pytest.fixture
def film(tmp_path: Path) -> Path:
    folder = tmp_path / "film"
    (folder / "plugins").mkdir(parents=True)
    (folder / "project.toml").write_text('name = "film"\n')
    return folder


def write(film: Path, name: str, text: str = COSTUME) -> Path:
    path = film / "plugins" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_nothing_runs_without_trust(load_film, film) -> None:
    path = write(film, "af_film_a.py")
    registry = load_film(film)
    assert registry.plugins[-1].state == "untrusted"
    assert registry.failures[-1].stage == "trust"
    assert "plugin trust af_film_a" in registry.failures[-1].reason
    assert not path.with_suffix(".ran").exists()


def test_what_is_trusted_runs_and_a_change_asks_again(load_film, film) -> None:
    path = write(film, "af_film_b.py")
    trust_film_plugin(film, "af_film_b")
    registry = load_film(film)
    assert registry.asset_type("costume").plugin == "film"
    assert path.with_suffix(".ran").exists()
    path.write_text(COSTUME + "\n# one more line\n")
    path.with_suffix(".ran").unlink()
    registry = load_film(film)
    assert "changed since it was trusted" in registry.failures[-1].reason
    assert not path.with_suffix(".ran").exists()


def test_two_threads_that_open_a_film_load_its_plugin_once(with_plugins, monkeypatch, film) -> None:
    path = write(film, "af_film_slow.py", "import time\ntime.sleep(0.3)\n" + COSTUME)
    trust_film_plugin(film, path.stem)
    registry = with_plugins()
    monkeypatch.delenv("ASSETFORGE_PLUGINS")
    threads = [threading.Thread(target=add_film_plugins, args=(registry, film)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.state for one in registry.plugins if one.candidate.name == path.stem] == ["active"]


def test_trust_belongs_to_the_path_too(load_film, film, tmp_path) -> None:
    write(film, "af_film_c.py")
    trust_film_plugin(film, "af_film_c")
    other = tmp_path / "other"
    write(other, "af_film_c.py")
    registry = load_film(other)
    assert registry.plugins[-1].state == "untrusted"


def test_trust_can_be_taken_back(load_film, film) -> None:
    write(film, "af_film_d.py")
    trust_film_plugin(film, "af_film_d")
    trust_film_plugin(film, "af_film_d", revoke=True)
    assert load_film(film).plugins[-1].state == "untrusted"


def test_every_file_of_a_folder_counts_and_is_loaded_late(load_film, film) -> None:
    write(film, "af_film_e/__init__.py", COSTUME.replace('.with_suffix(".ran").touch()', ".exists()"))
    late = write(film, "af_film_e/late.py", "ANSWER = 42\n")
    before = find_film_plugins(film)[0].content_hash
    write(film, "af_film_e/look.cube", "1 2 3")
    assert find_film_plugins(film)[0].content_hash != before
    trust_film_plugin(film, "af_film_e")
    assert load_film(film).plugins[-1].state == "active"
    late.write_text("ANSWER = 43\n")
    with pytest.raises(PluginError, match="not what was trusted"):
        load("af_film_e.late:ANSWER")


def test_compiled_files_in_the_folder_are_never_run(load_film, film, tmp_path) -> None:
    source = write(film, "af_film_f/__init__.py", COSTUME.replace('.with_suffix(".ran").touch()', ".exists()"))
    evil = tmp_path / "evil.py"
    evil.write_text("raise SystemExit('ran what was never trusted')\n")
    times = source.stat()
    os.utime(evil, ns=(times.st_atime_ns, times.st_mtime_ns))
    evil.write_bytes(evil.read_bytes().ljust(times.st_size, b"#"))
    os.utime(evil, ns=(times.st_atime_ns, times.st_mtime_ns))
    py_compile.compile(str(evil), cfile=importlib.util.cache_from_source(str(source)))
    trust_film_plugin(film, "af_film_f")
    registry = load_film(film)
    assert registry.plugins[-1].state == "active", registry.failures


def test_links_are_not_followed(load_film, film, tmp_path) -> None:
    real = tmp_path / "elsewhere.py"
    real.write_text(COSTUME)
    (film / "plugins" / "af_film_g.py").symlink_to(real)
    trust_film_plugin(film, "af_film_g")
    registry = load_film(film)
    assert registry.plugins[-1].state == "quarantined"
    assert "link" in registry.failures[-1].reason
    assert not real.with_suffix(".ran").exists()


def test_job_code_must_be_installed(load_film, film) -> None:
    write(film, "af_film_trainer.py", TRAINER)
    trust_film_plugin(film, "af_film_trainer")
    registry = load_film(film)
    assert registry.failures[-1].stage == "value"
    assert "install it as a distribution" in registry.failures[-1].reason
    assert registry.trainers() == []


def test_a_file_named_like_an_installed_module_is_refused(load_film, film) -> None:
    write(film, "colorsys.py")
    trust_film_plugin(film, "colorsys")
    registry = load_film(film)
    assert registry.plugins[-1].state == "quarantined"
    assert "exists already" in registry.failures[-1].reason


def test_unknown_names_and_damaged_decisions(film, home) -> None:
    with pytest.raises(NotFoundError):
        trust_film_plugin(film, "nobody")
    write(film, "af_film_h.py")
    trust_film_plugin(film, "af_film_h")
    decisions_file().write_text('{"disabled": 3}')
    with pytest.raises(ConfigError, match=r"plugins\.json"):
        trust_film_plugin(film, "af_film_h")
    assert decisions_file().read_text() == '{"disabled": 3}'


def run(film: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "assetforge", "plugin", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=film)


def test_the_command_line_asks_trusts_and_disables(film) -> None:
    write(film, "af_film_i.py")
    listed = {plugin["name"]: plugin for plugin in json.loads(run(film, "list", "--json").stdout)["plugins"]}
    assert listed["af_film_i"]["state"] == "untrusted"
    trusted = json.loads(run(film, "trust", "af_film_i", "--json").stdout)
    assert trusted["content_hash"] == listed["af_film_i"]["content_hash"]
    listed = {plugin["name"]: plugin for plugin in json.loads(run(film, "list", "--json").stdout)["plugins"]}
    assert listed["af_film_i"]["state"] == "active"
    assert listed["af_film_i"]["gives"] == {"asset_type": ["costume"]}
    assert run(film, "disable", "af_film_i").returncode == 0
    listed = {plugin["name"]: plugin for plugin in json.loads(run(film, "list", "--json").stdout)["plugins"]}
    assert listed["af_film_i"]["state"] == "disabled"
    assert run(film, "enable", "af_film_i").returncode == 0
    assert "costume" in run(film, "show", "af_film_i").stdout
    assert run(film, "disable", "builtin").returncode == 2
    assert run(film, "disable", "nobody").returncode == 3
