"""``read_along.py FILM SECONDS``: reads as an interface does, twenty times a second, and says how long its pages took, in milliseconds."""

import json
import sys
import time
from pathlib import Path

from assetforge.services.projects import open_project
from assetforge.services.references import list_references
from assetforge.services.versions import list_versions
from assetforge.services.watch_records import list_health

EVERY_S = 0.05
PAGE = 60


def read(film, seconds):
    pages, changes, version, cursor = [], 0, -1, ""
    deadline = time.monotonic() + seconds
    while (began := time.monotonic()) < deadline:
        now = film.database.version()
        changes, version = changes + (now != version), now
        started = time.perf_counter()
        page = list_references(film, "coat", after=cursor, limit=PAGE)
        list_versions(film)
        list_health(film)
        pages.append((time.perf_counter() - started) * 1000)
        cursor = page.next or ""
        time.sleep(max(0.0, EVERY_S - (time.monotonic() - began)))
    pages.sort()
    at = {f"p{share}": round(pages[len(pages) * share // 100], 1) for share in (50, 95, 99)}
    return {"pages": len(pages), "changes seen": changes, **at, "slowest": round(pages[-1], 1)}


if __name__ == "__main__":
    with open_project(Path(sys.argv[1])) as opened:
        print(json.dumps(read(opened, float(sys.argv[2]))))
