"""``operate.py FILM``: what a command does to a film. Everything is imported before the operation is read from stdin, so that a kill hits the work."""

import json
import sys
import time
from pathlib import Path

from assetforge.errors import BusyError, UsageError
from assetforge.services.backups import back_up
from assetforge.services.datasets import freeze
from assetforge.services.ingest import add_references
from assetforge.services.maintenance import collect_garbage
from assetforge.services.projects import open_project
from assetforge.services.releases import approve, publish
from assetforge.services.retraining import retrain
from assetforge.store.gc import GcPolicy

GRACE_S = 30.0

OPERATIONS = {
    "nothing": lambda film: None,
    "freeze": lambda film, asset: freeze(film, asset, note="by hand"),
    "retrain": retrain,
    "publish": publish,
    "approve": lambda film, address: approve(film, address, why="it holds", review="skipped", anyway=True),
    "backup": lambda film, to: back_up(film, Path(to), whole=True),
    "ingest": lambda film, asset, folder: add_references(film, asset, [Path(folder)]),
    "gc": lambda film: collect_garbage(film, policy=GcPolicy(grace_s=GRACE_S, trash_s=GRACE_S), dry_run=False),
}

if __name__ == "__main__":
    with open_project(Path(sys.argv[1])) as opened:
        print("ready", flush=True)
        operation, *words = json.loads(sys.stdin.readline() or '["nothing"]')
        started = time.perf_counter()
        try:
            OPERATIONS[operation](opened, *words)
        except (BusyError, UsageError) as error:
            print(f"refused: {error}", file=sys.stderr)
        print(f"done {time.perf_counter() - started}", flush=True)
