"""Plays the run that the big film says is running: events as a trainer writes them, a heartbeat as the agent does, a lease as a supervisor renews it.

python tests/benchmarks/live_run.py FILM [--rate 20] [--seconds 600]
"""

import argparse
import json
import math
import os
import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from assetforge import agent
from assetforge.jobs.context import EventWriter

HEARTBEAT_S, LEASE_S, RENEW_S, CHECKPOINT = 5.0, 60.0, 15.0, 500


def main() -> None:
    """Write until the time is over; leave as SIGTERM asks."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("film", type=Path)
    parser.add_argument("--rate", type=float, default=20.0)
    parser.add_argument("--seconds", type=float, default=600.0)
    wanted = parser.parse_args()
    live = json.loads((wanted.film / "big-film.json").read_text(encoding="utf-8"))["live"]
    play(wanted.film, live, wanted.rate, wanted.seconds)


def play(film: Path, live: dict[str, Any], rate: float, seconds: float) -> None:
    """Write events at a steady rate.

    Args:
        film: The film's folder.
        live: What the film's facts say of the run.
        rate: Events a second.
        seconds: For how long.
    """
    workdir, rng = Path(live["workdir"]), random.Random(live["job"])
    events = EventWriter(workdir / "events.jsonl", 1)
    begun, step, written = time.monotonic(), _last_step(workdir, live["step"]), 0
    beat = renewed = -math.inf
    while (now := time.monotonic() - begun) < seconds:
        if now - beat >= HEARTBEAT_S:
            beat = now
            _say_alive(workdir, live)
        if now - renewed >= RENEW_S:
            renewed = now
            _renew(film, live["job"])
        step, written = step + 1, written + 1
        loss = 0.09 + 0.3 * math.exp(-step / 400) + rng.gauss(0.0, 0.01)
        events.write("progress", step=step, total=live["total"], loss=loss, lr=1e-4, it_s=rate, memory_mb=21400.0)
        if step % CHECKPOINT == 0:
            events.write("checkpoint", step=step)
            events.write("metric", name="validation_loss", value=loss + 0.02, step=step)
        elif step % 25 == 0:
            events.write("log", message=f"[step {step}] bucket 832x1216, caption [/] dropped")
        time.sleep(max(0.0, begun + written / rate - time.monotonic()))


def _last_step(workdir: Path, fallback: int) -> int:
    events, _cursor = agent.read_events(workdir, max(0, (workdir / "events.jsonl").stat().st_size - 4096))
    return max((int(one["step"]) for one in events if one.get("kind") == "progress"), default=fallback)


def _say_alive(workdir: Path, live: dict[str, Any]) -> None:
    status = {"schema": "assetforge/status/1", "attempt": 1, "state": "running", "host": os.uname().nodename}
    me = agent.identify(os.getpid())
    status.update(agent=me, child=me, started_at=live["began"], heartbeat=time.time(), place=agent.place_of(workdir))
    agent.write_atomic(workdir / "status.json", json.dumps(status).encode())


def _renew(film: Path, job: int) -> None:
    """A write to the database, as every supervisor makes one for each job that it holds; the lease itself stays years long."""
    with closing(sqlite3.connect(film / ".assetforge" / "forge.db", timeout=30.0, isolation_level=None)) as connection:
        connection.execute(
            "UPDATE job SET lease_until = max(lease_until, ?) WHERE id = ?", (time.time() + LEASE_S, job)
        )


if __name__ == "__main__":
    main()
