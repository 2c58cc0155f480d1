"""The short form of the regression harness: the method tells damage from chance, from training to verdict."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HARNESS = Path(__file__).parents[1] / "benchmarks" / "bench_regression.py"


@pytest.mark.slow
def test_damage_is_called_regressed_and_training_again_is_not(tmp_path):
    pytest.importorskip("torch")
    command = [sys.executable, str(HARNESS), "--short", "--folder", str(tmp_path)]
    # The plugins that tests put on the path are not part of what is measured.
    env = {name: value for name, value in os.environ.items() if name not in ("ASSETFORGE_PLUGINS", "PYTHONPATH")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=1500, check=False, env=env)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    kinds = json.loads(done.stdout)["kinds"]
    assert kinds["as it should be"]["regressed"] == 0
    assert all(one["regressed"] == one["pairs"] for kind, one in kinds.items() if kind != "as it should be")
    assert len(kinds) == 3
