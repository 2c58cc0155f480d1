"""Run every benchmark in this folder, one after the other, and print their figures as one table.

Each benchmark prints one JSON line ``{"name": ..., "figure": ..., "limit": ..., "ok": ..., ...}`` and leaves with 1 when its figure is missed.
"""

import json
import subprocess
import sys
from pathlib import Path


def main() -> int:
    """Run the named benchmarks, or all."""
    wanted = sys.argv[1:]
    missed = 0
    for script in sorted(Path(__file__).parent.glob("bench_*.py")):
        if wanted and script.stem.removeprefix("bench_") not in wanted:
            continue
        print(f"{script.stem} ...", file=sys.stderr, flush=True)
        result = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
        lines = [line for line in result.stdout.splitlines() if line.startswith("{")]
        if not lines:
            missed += 1
            print(f"{script.stem}: no figure (exit {result.returncode})\n{result.stderr[-2000:]}")
        for line in lines:
            figures = json.loads(line)
            missed += not figures.get("ok", True)
            print(json.dumps(figures))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
