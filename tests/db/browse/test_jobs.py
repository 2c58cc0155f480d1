import time

from assetforge.db.browse.jobs import queue_rows


def test_the_queue_in_the_order_in_which_it_runs_then_what_ended(rows, empty, now):
    soon = time.time() + 3600
    rows.put("asset", id=1, name="mara", type="character", trigger="t", created_at=now)
    rows.put("run", id=41, asset_id=1, state="running", params={"steps": 1900, "rank": 8}, cause="5 new references")
    rows.put("version", id=1, asset_id=1, number=1, run_id=41, step=950, stage="candidate", created_at=now)
    rows.put("version", id=2, asset_id=1, number=2, run_id=41, step=1900, stage="candidate", created_at=now)
    jobs = [
        {"kind": "train", "state": "succeeded", "finished_at": 100.0},
        {"kind": "train", "state": "queued", "priority": -10},
        {"kind": "train", "state": "queued", "priority": 5, "not_before": soon},
        {"kind": "train", "state": "queued", "priority": 5, "error": "waits for quiet"},
        {"kind": "score", "state": "failed", "finished_at": 900.0, "error": "out of memory at step 3"},
        {"kind": "render", "state": "staging", "started_at": 60.0, "slot": "gpu0"},
        {
            "kind": "train",
            "state": "running",
            "started_at": 50.0,
            "slot": "gpu1",
            "run_id": 41,
            "cancel_requested": True,
        },
        {"kind": "train", "state": "queued", "priority": 5, "not_before": soon - 1800},
        {"kind": "score", "state": "queued", "priority": 0, "not_before": 12.0},
        {"kind": "train", "state": "queued", "priority": -10},
        {"kind": "render", "state": "cancelled", "finished_at": 900.5},
    ]
    for number, job in enumerate(jobs, 1):
        rows.put(
            "job",
            id=number,
            subject=f"job {number}",
            executor="local",
            device="auto",
            payload={"steps": 7} if number == 2 else {},
            max_attempts=3,
            **job,
        )
    rows.put(
        "evaluation", id=1, asset_id=1, suite_id=1, state="queued", plan={"cells": [1, 2, 3]}, plan_digest="a", job_id=6
    )
    rows.put(
        "evaluation", id=2, asset_id=1, suite_id=1, state="queued", plan={"cells": [1, 2]}, plan_digest="b", job_id=6
    )
    found = queue_rows(empty, open_only=False, limit=50)
    assert [row.id for row in found] == [7, 6, 4, 9, 2, 10, 8, 3, 11, 5, 1]
    assert [row.id for row in queue_rows(empty, open_only=True, limit=50)] == [7, 6, 4, 9, 2, 10, 8, 3]
    assert [row.id for row in queue_rows(empty, open_only=False, limit=9)] == [7, 6, 4, 9, 2, 10, 8, 3, 11]
    assert [row.id for row in queue_rows(empty, open_only=False, limit=3)] == [7, 6, 4]
    training, rendering = found[0], found[1]
    assert (training.asset, training.run, training.cause, training.total, training.slot) == (
        "mara",
        41,
        "5 new references",
        1900,
        "gpu1",
    )
    assert training.versions == ("mara/v1", "mara/v2")
    assert training.cancel_requested is True
    assert (rendering.asset, rendering.run, rendering.total, rendering.versions) == ("mara", None, 5, ())
    assert (found[4].total, found[2].total, found[2].error) == (7, None, "waits for quiet")
    assert (found[-2].error, found[-2].finished_at, found[-1].state) == ("out of memory at step 3", 900.0, "succeeded")


def test_the_queue_claims_in_the_same_order(project):
    from assetforge.db.browse.reader import Reader
    from assetforge.db.queue_rows import enqueue
    from assetforge.jobs.queue import claim

    with project.write() as session:
        for number, priority in enumerate((0, -10, 7, 0, 7, -10)):
            enqueue(session, kind="train", subject=str(number), payload={}, priority=priority)
    reader = Reader(project.paths.database)
    listed = [row.id for row in queue_rows(reader, open_only=True, limit=50)]
    claimed = []
    for number in range(6):
        with project.write() as session:
            claimed.append(claim(session, "me|b|1|1", "local", f"slot{number}", ["auto"]).job)
    assert listed == claimed
    assert sorted(row.id for row in queue_rows(reader, open_only=True, limit=50)) == sorted(claimed)
    reader.close()
