"""kill -9 of every process of a film at random moments of every stage: nothing is lost, nothing is done twice."""

import json
import os
import random
import statistics
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("assetforge_example")
sys.path.insert(0, str(Path(__file__).parent))
from chaos import Chaos
from faulted_film import FaultedFilm, use_plugins


@pytest.mark.parametrize("kills", [pytest.param(20, marks=pytest.mark.slow), pytest.param(200, marks=pytest.mark.soak)])
def test_nothing_is_lost_and_nothing_done_twice(home, tmp_path, monkeypatch, kills):
    use_plugins(monkeypatch)
    seed = int(os.environ.get("ASSETFORGE_FAULT_SEED") or random.randrange(10**6))
    rng = random.Random(seed)
    film = FaultedFilm(rng, render=kills > 50)
    chaos = Chaos(film, rng, tmp_path)
    started = time.monotonic()
    try:
        film.inbox.drop(8)
        chaos.run(kills)
        chaos.settle()
        figures = chaos.witness.all_is_in_order(chaos.backups)
    except BaseException:
        print(f"repeat with ASSETFORGE_FAULT_SEED={seed}; killed: {chaos.history}")
        raise
    finally:
        film.end()
    figures |= {"seed": seed, "kills": dict(sorted(chaos.kills.items())), "seconds": round(time.monotonic() - started)}
    figures["median seconds"] = {what: statistics.median(some) for what, some in sorted(chaos.seconds.items())}
    print(json.dumps(figures, indent=1))
