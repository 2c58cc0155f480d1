"""A supervisor process for tests: ``supervise.py ROOT [--until-idle] [--slots=N] [--lease=S] [--free=FILE]``; FILE holds the free space in GB."""

import signal
import sys
from pathlib import Path

from assetforge.builtin.local_executor import LocalExecutor, LocalParams
from assetforge.jobs import guards
from assetforge.jobs.driver import Pace
from assetforge.jobs.slots import Executors, Place
from assetforge.jobs.supervisor import Supervisor
from assetforge.services.projects import open_project

HANDLERS = {"train": "fake_training"}


def free_bytes(_folder: Path) -> int:
    return int(float(Path(given["free"]).read_text()) * 10**9)


def options() -> dict[str, str]:
    return dict(word.removeprefix("--").split("=") for word in sys.argv[2:] if "=" in word)


if __name__ == "__main__":
    given = options()
    with open_project(Path(sys.argv[1])) as project:
        supervisor = Supervisor(
            project,
            executors=Executors({"local": Place(LocalExecutor(LocalParams(slots=int(given.get("slots", 2)))))}),
            handlers=HANDLERS,
            pace=Pace(
                poll_s=0.05,
                cancel_s=0.1,
                backoff_s=0.05,
                lease_s=float(given.get("lease", 60)),
                guard_s=0.1,
                hold_s=0.3,
            ),
            free_bytes=free_bytes if "free" in given else guards.free_bytes,
            say=lambda line: print(line, file=sys.stderr, flush=True),
        )
        signal.signal(signal.SIGTERM, lambda *_: supervisor.stop())
        supervisor.run(until_idle="--until-idle" in sys.argv)
