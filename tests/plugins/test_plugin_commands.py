"""Commands of plugins: imported when they are called; what goes wrong in them is named, with the exit code of plugin failures."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from assetforge.extension.film_plugins import trust_film_plugin

FOLDER = Path(__file__).parent / "broken" / "bad_commands"


def run(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "assetforge", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(FOLDER), "ASSETFORGE_PLUGINS": "bad-commands", **environment},
    )


def test_a_command_gets_its_options_from_its_signature(tmp_path) -> None:
    assert run("odd", "deep", "double", "21", cwd=tmp_path).stdout == "42\n"
    assert run("odd", "deep", "double", "4", "--times", "5", cwd=tmp_path).stdout == "20\n"
    assert "--times" in run("odd", "deep", "double", "--help", cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("word", "reason"), [("gone", "a_module_that_nobody_has"), ("raises", "ValueError: no such thing")]
)
def test_a_command_that_fails_is_a_plugin_failure(tmp_path, word, reason) -> None:
    result = run("odd", word, cwd=tmp_path)
    assert result.returncode == 4
    assert reason in result.stderr
    assert "Traceback" not in result.stderr
    strict = run("odd", word, cwd=tmp_path, ASSETFORGE_STRICT_PLUGINS="1")
    assert reason in strict.stderr


def test_broken_commands_do_not_harm_their_neighbours(tmp_path) -> None:
    listed = run("odd", "--help", cwd=tmp_path)
    assert listed.returncode == 0
    for word in ("gone", "raises", "deep"):
        assert word in listed.stdout
    assert run("odd", "nothing", cwd=tmp_path).returncode == 2


def test_a_trusted_plugin_inside_the_film_brings_commands(tmp_path) -> None:
    (tmp_path / "project.toml").write_text('name = "film"\n')
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "own_commands.py").write_text(
        "from assetforge.api import hookimpl\n"
        "from assetforge.api.specs import CommandSpec\n\n"
        "@hookimpl\n"
        "def register_commands():\n"
        "    return [CommandSpec(path=('slate',), help='Say the name.', load='own_commands:slate')]\n\n"
        "def slate():\n"
        "    print('scene 1')\n"
    )
    assert run("slate", cwd=tmp_path, ASSETFORGE_PLUGINS="own_commands").returncode == 2
    trust_film_plugin(tmp_path, "own_commands")
    result = run("slate", cwd=tmp_path, ASSETFORGE_PLUGINS="own_commands")
    assert result.stdout == "scene 1\n", result.stderr
