"""What the table of assets is made of: one short query for each kind of fact, over all assets at once."""

from pathlib import Path
from typing import Any, NamedTuple

from assetforge.db.browse.reader import Reader, json_list
from assetforge.db.browse.verdicts import NO_VERDICT, ShortVerdict, deciding_comparisons, verdicts_of
from assetforge.domain.states import OPEN_JOB_STATES

__all__ = [
    "CALIBRATION",
    "CORE_PREFIX",
    "JOB_ASSET",
    "STANDING",
    "JobFacts",
    "VersionFacts",
    "changes",
    "counts",
    "datasets",
    "jobs",
    "last_runs",
    "pictures",
    "rendered",
    "verdicts",
    "versions",
]

CORE_PREFIX = "core"
"""As :data:`assetforge.domain.suite.CORE_PREFIX`, which cannot be imported quickly; a test keeps the two in step."""

CALIBRATION = "calibration of "
"""As :data:`assetforge.services.versions.CALIBRATION`; a test keeps the two in step."""

_COUNTS = {
    # From asset to asset is quicker than over all references in groups.
    "references": "SELECT a.id, (SELECT count(*) FROM reference r INDEXED BY ix_reference_asset_touched"
    " WHERE r.asset_id = a.id AND r.state = 'active') FROM asset a",
    "excluded": "SELECT a.id, (SELECT count(*) FROM reference r INDEXED BY ix_reference_asset_touched"
    " WHERE r.asset_id = a.id AND r.state = 'excluded') FROM asset a",
    "without_caption": "SELECT asset_id, count(*) FROM reference INDEXED BY ix_reference_without_caption"
    " WHERE caption = '' AND state = 'active' GROUP BY asset_id",
    "without_rights": "SELECT asset_id, count(*) FROM reference INDEXED BY ix_reference_without_rights"
    " WHERE rights = '' AND state = 'active' GROUP BY asset_id",
    "versions": "SELECT asset_id, count(*) FROM version GROUP BY asset_id",
    "quarantined": "SELECT r.asset_id, count(*) FROM watched_file f JOIN watch_root r ON r.id = f.root_id WHERE f.state = 'quarantined' GROUP BY r.asset_id",
}

# What was in use at the freeze and has not been touched since is in the dataset. A row may be written some time after its own time stamp.
_DATASETS = """
SELECT d.asset_id, d.number, d.train_count + d.held_out_count,
       (SELECT count(*) FROM reference r INDEXED BY ix_reference_asset_touched
        WHERE r.asset_id = d.asset_id AND r.state = 'active' AND r.updated_at >= datetime(d.created_at, '-1 hour')
              AND NOT EXISTS (SELECT 1 FROM dataset_item i WHERE i.dataset_id = d.id AND i.sha256 = r.sha256))
FROM dataset_version d WHERE d.number = (SELECT max(n.number) FROM dataset_version n WHERE n.asset_id = d.asset_id)
"""

STANDING = f"""n.stage != 'retired' AND (n.stage = 'approved' OR n.run_id IS NULL
    OR NOT EXISTS (SELECT 1 FROM run WHERE run.id = n.run_id AND run.cause LIKE '{CALIBRATION}%'))"""  # noqa: S608 - a constant of this module
"""Of a version ``n``: it may be the latest of its asset, as :func:`assetforge.services.versions.standing` says."""

_LATEST = f"""
SELECT v.asset_id, v.id, v.number, v.stage FROM asset a JOIN version v ON v.id = (
    SELECT n.id FROM version n WHERE n.asset_id = a.id AND {STANDING} ORDER BY n.number DESC LIMIT 1)
"""  # noqa: S608 - constants of this module

_APPROVED = """
SELECT v.asset_id, v.id, v.number, v.stage FROM alias l JOIN version v ON v.id = l.version_id WHERE l.name = 'approved'
"""

_RENDERED = """
SELECT value FROM json_each(?) WHERE EXISTS (
    SELECT 1 FROM evaluation e JOIN render r ON r.evaluation_id = e.id WHERE e.version_id = json_each.value)
"""

_LAST_RUNS = """
SELECT r.asset_id, r.state, coalesce(r.finished_at, r.created_at),
       EXISTS (SELECT 1 FROM version v WHERE v.asset_id = r.asset_id AND v.created_at > coalesce(r.finished_at, r.created_at))
FROM asset a JOIN run r ON r.id = (SELECT max(n.id) FROM run n WHERE n.asset_id = a.id)
"""

JOB_ASSET = """coalesce((SELECT r.asset_id FROM run r WHERE r.id = j.run_id), (SELECT e.asset_id FROM evaluation e WHERE e.job_id = j.id LIMIT 1),
    (SELECT c.asset_id FROM comparison c WHERE c.id = json_extract(j.payload, '$.comparison')))"""
"""Of a job ``j``: row id of the asset that it is about."""

_JOBS = f"""
SELECT {JOB_ASSET}, j.id, j.kind, j.state FROM job j WHERE j.state IN (SELECT value FROM json_each(?)) ORDER BY j.id
"""  # noqa: S608 - a constant of this module

_CHANGES = """
SELECT a.id, max(a.created_at, coalesce(a.archived_at, ''),
    coalesce((SELECT max(r.updated_at) FROM reference r INDEXED BY ix_reference_asset_touched WHERE r.asset_id = a.id AND r.state = 'active'), ''),
    coalesce((SELECT max(r.updated_at) FROM reference r INDEXED BY ix_reference_asset_touched WHERE r.asset_id = a.id AND r.state = 'excluded'), ''),
    coalesce((SELECT d.created_at FROM dataset_version d WHERE d.asset_id = a.id ORDER BY d.number DESC LIMIT 1), ''),
    coalesce((SELECT v.created_at FROM version v WHERE v.asset_id = a.id ORDER BY v.number DESC LIMIT 1), ''),
    coalesce((SELECT coalesce(r.finished_at, r.created_at) FROM run r WHERE r.asset_id = a.id ORDER BY r.id DESC LIMIT 1), ''),
    coalesce((SELECT c.created_at FROM comparison c WHERE c.id = (SELECT max(n.id) FROM comparison n WHERE n.asset_id = a.id)), ''),
    coalesce((SELECT m.at FROM alias_move m WHERE m.id = (SELECT max(n.id) FROM alias_move n WHERE n.asset_id = a.id)), '')),
    (SELECT v.created_at FROM version v WHERE v.asset_id = a.id AND v.run_id IS NOT NULL ORDER BY v.number DESC LIMIT 1)
FROM asset a
"""

_RENDERS = f"""
SELECT value, (SELECT r.sha256 FROM evaluation e JOIN render r ON r.evaluation_id = e.id
    WHERE e.version_id = json_each.value AND r.block >= '{CORE_PREFIX}' AND r.block < '{CORE_PREFIX}~' AND r.strength = 1.0
    ORDER BY e.id DESC, r.cell_index LIMIT 1)
FROM json_each(?)
"""  # noqa: S608 - a constant of this module

# The first ones by hash are as good as drawn by lot and stay the same; assets seldom have more.
_SHARPEST = """
SELECT value, (SELECT s.sha256 FROM (SELECT r.sha256 FROM reference r INDEXED BY ix_reference_asset_state
        WHERE r.asset_id = json_each.value AND r.state = 'active' ORDER BY r.sha256 LIMIT 64) s
    CROSS JOIN image i INDEXED BY ix_image_figures ON i.sha256 = s.sha256 ORDER BY i.sharpness DESC LIMIT 1)
FROM json_each(?)
"""

_MOST_FOLLOWED = 16
_TAIL = 8192


class VersionFacts(NamedTuple):
    """The latest or the approved version of an asset.

    Attributes:
        id: Row id.
        number: Its number.
        stage: Its stage.
    """

    id: int
    number: int
    stage: str


class JobFacts(NamedTuple):
    """The open jobs of an asset.

    Attributes:
        open: How many there are.
        running: Some of them are under way.
        progress: How far the training or rendering is that began first, 0 to 1; ``None`` when nobody knows.
    """

    open: int = 0
    running: bool = False
    progress: float | None = None


def counts(reader: Reader) -> dict[str, dict[int, int]]:
    """Several numbers by asset: ``references``, ``excluded``, ``without_caption``, ``without_rights``, ``versions``, ``quarantined``."""
    return {name: dict(_pairs(reader, sql)) for name, sql in _COUNTS.items()}


def datasets(reader: Reader) -> dict[int, tuple[int, int, int]]:
    """By asset: number of its newest dataset, how many references are in it, and how many in use are not."""
    return {asset: (number, size, unfrozen) for asset, number, size, unfrozen in reader.rows(_DATASETS)}


def versions(reader: Reader) -> tuple[dict[int, VersionFacts], dict[int, VersionFacts]]:
    """The latest and the approved version, by asset."""
    latest = {row[0]: VersionFacts(*row[1:]) for row in reader.rows(_LATEST)}
    return latest, {row[0]: VersionFacts(*row[1:]) for row in reader.rows(_APPROVED)}


def verdicts(reader: Reader, latest: dict[int, VersionFacts]) -> dict[int, ShortVerdict]:
    """What the comparison says that a decision over the latest version rests on, by asset."""
    comparisons = deciding_comparisons(reader, (one.id for one in latest.values()))
    said = verdicts_of(reader, comparisons.values())
    return {asset: said.get(comparisons.get(one.id, 0), NO_VERDICT) for asset, one in latest.items()}


def rendered(reader: Reader, latest: dict[int, VersionFacts]) -> set[int]:
    """Row ids of those versions that there are renders of."""
    return {row[0] for row in reader.rows(_RENDERED, (json_list(one.id for one in latest.values()),))}


def last_runs(reader: Reader) -> dict[int, bool]:
    """By asset, whether its last run failed and no version came after."""
    return {
        asset: state in ("failed", "lost") and not followed for asset, state, _at, followed in reader.rows(_LAST_RUNS)
    }


def changes(reader: Reader) -> dict[int, tuple[str, str | None]]:
    """By asset, when anything about it changed, and when its newest trained version was made, as the database writes times."""
    return {asset: (changed, trained) for asset, changed, trained in reader.rows(_CHANGES)}


def jobs(reader: Reader) -> dict[int, JobFacts]:
    """The open jobs by asset."""
    found: dict[int, JobFacts] = {}
    folder, followed = reader.path.parent / "jobs", 0
    for asset, job, kind, state in reader.rows(_JOBS, (json_list(OPEN_JOB_STATES),)):
        before = found.get(asset, JobFacts())
        progress = before.progress
        if progress is None and state != "queued" and kind != "score" and followed < _MOST_FOLLOWED:
            followed += 1
            progress = _progress(folder / f"{job:06d}")
        found[asset] = JobFacts(before.open + 1, before.running or state != "queued", progress)
    return found


def pictures(
    reader: Reader, assets: list[int], latest: dict[int, VersionFacts], approved: dict[int, VersionFacts]
) -> dict[int, str]:
    """Hash of the picture that shows an asset best: the approved version's first core picture at full strength, else the latest one's, else a sharp reference."""
    found: dict[int, str] = {}
    for chosen in (approved, latest):
        asked = {one.id: asset for asset, one in chosen.items() if asset not in found}
        for version, sha256 in _pairs(reader, _RENDERS, json_list(asked)):
            if sha256:
                found[asked[version]] = sha256
    rest = json_list(asset for asset in assets if asset not in found)
    return found | {asset: sha256 for asset, sha256 in _pairs(reader, _SHARPEST, rest) if sha256}


def _pairs(reader: Reader, sql: str, *parameters: Any) -> list[tuple[int, Any]]:
    return [(row[0], row[1]) for row in reader.rows(sql, parameters)]


def _progress(folder: Path) -> float | None:
    """How far a job is, from the end of its events."""
    from assetforge import agent

    try:
        size = (folder / "events.jsonl").stat().st_size
        events = agent.read_events(folder, max(0, size - _TAIL))[0]
        last = next(event for event in reversed(events) if event.get("kind") == "progress")
        return min(1.0, int(last["step"]) / int(last["total"]))
    except (OSError, StopIteration, KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
