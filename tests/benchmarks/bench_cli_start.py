"""How long `assetforge --help` and `assetforge project list` take as whole processes, beside a bare interpreter in the same run.

Required: medians of at most 150 ms and 500 ms.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 15
LIMITS_MS = {"help": 150.0, "project-list": 500.0}


def milliseconds(command: list[str], env: dict[str, str]) -> float:
    """Wall time of one process."""
    start = time.perf_counter()
    subprocess.run(command, env=env, capture_output=True, check=True)
    return (time.perf_counter() - start) * 1000


def main() -> int:
    """Measure interleaved, so that a noisy neighbour meets all alike."""
    assetforge = str(Path(sys.executable).with_name("assetforge"))
    commands = {
        "python": [sys.executable, "-c", "pass"],
        "help": [assetforge, "--help"],
        "project-list": [assetforge, "project", "list", "--json"],
    }
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "ASSETFORGE_HOME": f"{folder}/home", "ASSETFORGE_PROJECTS": f"{folder}/films"}
        Path(folder, "films").mkdir()
        for number in range(3):
            subprocess.run([assetforge, "project", "new", f"film-{number}"], env=env, capture_output=True, check=True)
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(RUNS):
            for name, command in commands.items():
                times[name].append(milliseconds(command, env))
    bare = statistics.median(times["python"])
    ok = True
    for name, limit in LIMITS_MS.items():
        median = statistics.median(times[name])
        ok &= median <= limit
        print(
            json.dumps(
                {
                    "name": f"cli-{name}",
                    "figure": round(median, 1),
                    "unit": "ms median",
                    "limit": limit,
                    "ok": median <= limit,
                    "bare_interpreter_ms": round(bare, 1),
                }
            )
        )
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
