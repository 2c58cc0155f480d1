"""How a film is doing, in one look that costs next to nothing: what runs, what waits, what needs a person, and what ended since the look before."""

from dataclasses import dataclass

from assetforge.db.browse.reader import Reader

__all__ = ["NO_PULSE", "Ended", "Pulse", "ended", "take_pulse"]

_PULSE = """
SELECT (SELECT count(*) FROM job WHERE state IN ('staging','running','collecting')),
       (SELECT count(*) FROM job WHERE state = 'queued'),
       (SELECT count(*) FROM watched_file WHERE state = 'quarantined'),
       (SELECT count(*) FROM watch_root WHERE state != 'ok'),
       (SELECT count(*) FROM watch_root),
       (SELECT json_group_array(id) FROM run WHERE state IN ('queued','staging','running','collecting')),
       (SELECT json_group_array(id) FROM comparison WHERE state IN ('queued','staging','running','collecting'))
"""

_RUN = """
SELECT run.id, asset.name, run.state, run.error, (SELECT max(number) FROM version WHERE run_id = run.id)
FROM run JOIN asset ON asset.id = run.asset_id WHERE run.id = ?
"""

_COMPARISON = """
SELECT comparison.id, asset.name, comparison.state, version.number,
       json_extract(comparison.summary, '$.verdict.outcome'), json_extract(comparison.summary, '$.error')
FROM comparison JOIN asset ON asset.id = comparison.asset_id JOIN version ON version.id = comparison.version_id WHERE comparison.id = ?
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """The film at this moment.

    Attributes:
        running: Jobs that run.
        queued: Jobs that wait.
        quarantined: Files that wait for a decision.
        watch_problems: Watched folders that cannot be watched.
        watched: Watched folders.
        runs: Ids of runs that are not over.
        comparisons: Ids of comparisons that are not over.
    """

    running: int
    queued: int
    quarantined: int
    watch_problems: int
    watched: int
    runs: frozenset[int]
    comparisons: frozenset[int]


NO_PULSE = Pulse(
    running=0, queued=0, quarantined=0, watch_problems=0, watched=0, runs=frozenset(), comparisons=frozenset()
)
"""Of no film."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A run or a comparison that is over.

    Attributes:
        what: ``run`` or ``comparison``.
        id: Its number.
        asset: Name of the asset.
        version: Address of the version that it made or judged; empty for none.
        state: How it ended, or the outcome of the verdict.
        error: What went wrong.
    """

    what: str
    id: int
    asset: str
    version: str
    state: str
    error: str


def take_pulse(reader: Reader) -> Pulse:
    """The film at this moment.

    Raises:
        StorageError: The database cannot be read.
    """
    import json

    ((running, queued, quarantined, problems, watched, runs, comparisons),) = reader.rows(_PULSE)
    return Pulse(
        running=running,
        queued=queued,
        quarantined=quarantined,
        watch_problems=problems,
        watched=watched,
        runs=frozenset(json.loads(runs)),
        comparisons=frozenset(json.loads(comparisons)),
    )


def ended(reader: Reader, before: Pulse, now: Pulse) -> list[Ended]:
    """What was under way before and is not now, runs first.

    Raises:
        StorageError: The database cannot be read.
    """
    found = []
    for run_id in sorted(before.runs - now.runs):
        for number, asset, state, error, version in reader.rows(_RUN, (run_id,)):
            address = f"{asset}/v{version}" if version else ""
            found.append(Ended(what="run", id=number, asset=asset, version=address, state=state, error=error))
    for comparison_id in sorted(before.comparisons - now.comparisons):
        for number, asset, state, version, outcome, error in reader.rows(_COMPARISON, (comparison_id,)):
            found.append(
                Ended(
                    what="comparison",
                    id=number,
                    asset=asset,
                    version=f"{asset}/v{version}",
                    state=outcome or state,
                    error=error or "",
                )
            )
    return found
