"""What is installed for authors of plugins: light to load, and real when used."""

import json
import subprocess
import sys

import pytest

from assetforge.api import Params
from assetforge.api.job import BaseRef
from assetforge.errors import NotFoundError
from assetforge.extension.registry import get_registry
from assetforge.testing.contexts import SimulatedKill
from assetforge.testing.writes import stray_writes, watch_writes

BASE = BaseRef(name="none", family="none", digest="0" * 64)


def test_the_pytest_plugin_costs_nothing_until_it_is_used() -> None:
    code = (
        "import sys, pytest\n"
        "before = set(sys.modules)\n"
        "import assetforge.testing.pytest_plugin\n"
        "print(sorted(name for name in set(sys.modules) - before if not name.startswith('assetforge')))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.strip() == "[]"


def test_a_film_of_its_own(assetforge_project, assetforge_home) -> None:
    assert assetforge_project.root.is_relative_to(assetforge_home)
    assert assetforge_project.config.name == "film"


def test_plugins_are_loaded_anew(assetforge_registry_reset, monkeypatch) -> None:
    monkeypatch.setenv("ASSETFORGE_PLUGINS", "none")
    assert {plugin.candidate.name for plugin in get_registry().plugins if plugin.state == "active"} == {"builtin"}


def test_checkpoints_are_committed_and_the_last_two_kept(assetforge_train_context) -> None:
    context = assetforge_train_context(Params(), BASE)
    assert context.latest_checkpoint() is None
    for step in (5, 10, 15):
        file = context.checkpoint_file(step, "weights.bin")
        file.write_bytes(bytes([step]))
        context.commit_checkpoint(step, {"weights": file}, {"best": step / 10})
    context.checkpoint_file(20, "weights.bin").write_bytes(b"not committed")
    again = assetforge_train_context(Params(), BASE)
    checkpoint = again.latest_checkpoint()
    assert (checkpoint.step, dict(checkpoint.state)) == (15, {"best": 1.5})
    assert checkpoint.files["weights"].read_bytes() == bytes([15])
    assert len(list((context.workdir / "checkpoints").glob("*/state.json"))) == 2
    with pytest.raises(FileNotFoundError):
        context.commit_checkpoint(25, {"weights": context.workdir / "nowhere"}, {})


def test_the_context_stops_and_kills_when_the_test_says_so(assetforge_train_context) -> None:
    context = assetforge_train_context(Params(), BASE)
    context.stop_at, context.kill_at = 2, 4
    context.progress(1, 9)
    assert not context.should_stop()
    context.progress(2, 9, loss=0.5)
    assert context.should_stop()
    with pytest.raises(SimulatedKill):
        context.progress(4, 9)
    with pytest.raises(NotFoundError):
        context.base_path(BASE)


def test_inputs_are_a_bundle_as_a_job_has_it(assetforge_train_context) -> None:
    context = assetforge_train_context(Params(), BASE)
    saved = json.loads((context.workdir / context.payload.dataset).read_text())
    assert len(saved["items"]) == len(context.dataset.items)
    assert context.dataset.held_out_items()
    assert all((context.workdir / item.file).is_file() for item in context.dataset.items)


def test_stray_writes_are_seen(tmp_path) -> None:
    allowed = tmp_path / "work"
    with watch_writes() as seen:
        allowed.mkdir()
        (allowed / "fine").write_text("x")
        (tmp_path / "stray").write_text("x")
        (allowed / "fine").rename(tmp_path / "moved")
        (tmp_path / "stray").read_text()
    (tmp_path / "later").write_text("x")
    assert stray_writes(seen, allowed=[allowed], root=tmp_path) == [tmp_path / "moved", tmp_path / "stray"]


def test_the_contract_suites_import_no_framework() -> None:
    code = (
        "import sys\n"
        "import assetforge.testing.trainer_contract, assetforge.testing.renderer_contract, assetforge.testing.inputs\n"
        "import assetforge.testing.executor_contract\n"
        "assert not {'torch', 'diffusers', 'transformers', 'peft', 'accelerate'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
