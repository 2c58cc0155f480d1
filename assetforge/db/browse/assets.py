"""The table of a film's assets: all of it at once, then filtered and sorted in memory, since a film has some hundred."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from assetforge.db.browse import asset_facts as facts
from assetforge.db.browse.captions import has_tag
from assetforge.db.browse.reader import Reader, iso
from assetforge.db.browse.verdicts import NO_VERDICT, ShortVerdict
from assetforge.domain.names import dataset_address, version_address
from assetforge.domain.search_language import Search, Term, number_matches, time_bounds

__all__ = [
    "ATTENTION",
    "STATUSES",
    "AssetCounts",
    "AssetRow",
    "asset_counts",
    "asset_table",
    "select_assets",
    "sort_assets",
]

STATUSES = ("failed", "regressed", "review", "candidate", "running", "waiting", "collecting", "approved")
"""What an asset can be, that which needs a person first."""

ATTENTION = frozenset(("failed", "regressed", "review"))
"""Those that need a person now."""

_ASSETS = "SELECT id, name, type, trigger, class_word, description, archived_at FROM asset ORDER BY name"


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetRow:
    """An asset in the table.

    Attributes:
        id: Row id.
        name: Its name.
        type: Its type.
        trigger: Word that calls the LoRA.
        class_word: What it is.
        description: For people.
        status: One of :data:`STATUSES`.
        latest: Address of the newest version that is not retired; empty without one.
        latest_stage: Its stage.
        outcome: Of the comparison that a decision over the latest version rests on: ``pass``, ``regressed`` or ``inconclusive``; empty without a verdict.
        headline: What that comparison says, in a sentence.
        approved: Address of the approved version; empty without one.
        dataset: Address of the newest dataset version; empty without one.
        dataset_size: How many references are in it.
        references: References in use.
        excluded: References put aside.
        unfrozen: References in use that are not in the newest dataset version.
        without_caption: References in use without a caption.
        without_rights: References in use without rights.
        quarantined: Files of its watched folders that wait for a decision.
        versions: How many versions there are.
        progress: How far its open training or rendering is, 0 to 1; ``None`` when nobody knows.
        open_jobs: Jobs that are queued or under way.
        picture: Hash of the picture that shows it best; empty without one.
        trained_at: When its newest trained version was made, ISO 8601 in UTC; empty without one.
        changed_at: When anything about it changed, ISO 8601 in UTC.
        archived: It is out of work.
        verdict_due: What a person has to decide about the latest version, whatever else goes on: ``regressed``, ``review`` or nothing.
    """

    id: int
    name: str
    type: str
    trigger: str
    class_word: str
    description: str
    status: str
    latest: str
    latest_stage: str
    outcome: str
    headline: str
    approved: str
    dataset: str
    dataset_size: int
    references: int
    excluded: int
    unfrozen: int
    without_caption: int
    without_rights: int
    quarantined: int
    versions: int
    progress: float | None
    open_jobs: int
    picture: str
    trained_at: str
    changed_at: str
    archived: bool
    verdict_due: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetCounts:
    """How many assets there are, archived ones left out.

    Attributes:
        all: All of them.
        attention: Those that need a person.
        by_type: Of each type, the types in alphabetical order.
        archived: Archived ones.
    """

    all: int
    attention: int
    by_type: dict[str, int]
    archived: int


def asset_table(reader: Reader) -> list[AssetRow]:
    """Every asset of the film by name, archived ones included, all from one moment.

    Raises:
        StorageError: The database cannot be read.
        BusyError: Another process kept it locked.
    """
    with reader.snapshot():
        assets = reader.rows(_ASSETS)
        numbers, datasets = facts.counts(reader), facts.datasets(reader)
        latest, approved = facts.versions(reader)
        verdicts, rendered = facts.verdicts(reader, latest), facts.rendered(reader, latest)
        failed, jobs, changes = facts.last_runs(reader), facts.jobs(reader), facts.changes(reader)
        pictures = facts.pictures(reader, [row[0] for row in assets], latest, approved)
    found = []
    for asset, name, kind, trigger, class_word, description, archived_at in assets:
        newest, best = latest.get(asset), approved.get(asset)
        verdict, job = verdicts.get(asset, NO_VERDICT), jobs.get(asset, facts.JobFacts())
        dataset, size, unfrozen = datasets.get(asset, (0, 0, numbers["references"].get(asset, 0)))
        changed, trained = changes.get(asset, ("", None))
        due = _due(newest, best, verdict, newest is not None and newest.id in rendered)
        found.append(
            AssetRow(
                id=asset,
                name=name,
                type=kind,
                trigger=trigger,
                class_word=class_word,
                description=description,
                status=_status(newest, best, due, job, failed.get(asset, False)),
                latest=version_address(name, newest.number) if newest else "",
                latest_stage=newest.stage if newest else "",
                outcome=verdict.outcome,
                headline=verdict.headline,
                approved=version_address(name, best.number) if best else "",
                dataset=dataset_address(name, dataset) if dataset else "",
                dataset_size=size,
                unfrozen=unfrozen,
                progress=job.progress,
                open_jobs=job.open,
                picture=pictures.get(asset, ""),
                trained_at=iso(trained),
                changed_at=iso(changed),
                archived=archived_at is not None,
                verdict_due=due,
                **{count: of.get(asset, 0) for count, of in numbers.items()},
            )
        )
    return found


def _due(
    latest: facts.VersionFacts | None, approved: facts.VersionFacts | None, verdict: ShortVerdict, rendered: bool
) -> str:
    """What a person has to decide about the latest version; nothing when it was decided, or there is nothing to look at."""
    if latest is None or latest.stage != "candidate" or (approved is not None and approved.number >= latest.number):
        return ""
    if verdict.outcome == "regressed":
        return "regressed"
    return "review" if rendered or verdict != NO_VERDICT else ""


def _status(
    latest: facts.VersionFacts | None,
    approved: facts.VersionFacts | None,
    due: str,
    job: facts.JobFacts,
    failed: bool,
) -> str:
    if job.running:
        return "running"
    if failed and not job.open:
        return "failed"
    if due:
        return due
    if job.open:
        return "waiting"
    if latest is not None and latest.stage == "candidate" and (approved is None or approved.number < latest.number):
        return "candidate"
    # Where everything was rejected, the next thing to do is to collect.
    return "approved" if approved is not None else "collecting"


def asset_counts(rows: Iterable[AssetRow]) -> AssetCounts:
    """How many assets there are, of each type and of those that need a person."""
    rows = list(rows)
    shown = [row for row in rows if not row.archived]
    kinds = [row.type for row in shown]
    return AssetCounts(
        all=len(shown),
        attention=sum(row.status in ATTENTION for row in shown),
        by_type={kind: kinds.count(kind) for kind in sorted(set(kinds))},
        archived=len(rows) - len(shown),
    )


def select_assets(reader: Reader, rows: Sequence[AssetRow], search: Search, now: datetime) -> list[AssetRow]:
    """The assets that a search finds, in the order given; archived ones only when it asks for them.

    Args:
        reader: Asked about captions, when the search has ``tag:``, and for nothing else.
        rows: What :func:`asset_table` gave.
        search: Terms of :data:`~assetforge.domain.search_language.ASSET_FIELDS`.
        now: The present, with the time zone in which dates are meant.

    Raises:
        StorageError: The database cannot be read.
        BusyError: Another process kept it locked.
    """
    found = list(rows) if search.of("archived") else [row for row in rows if not row.archived]
    for term in search.terms:
        if term.field == "tag":
            tagged = _tagged(reader, term)
            found = [row for row in found if (row.id in tagged) != term.negated]
        else:
            found = [row for row in found if _fulfils(row, term, now) != term.negated]
    return found


def _tagged(reader: Reader, term: Term) -> set[int]:
    conditions = [has_tag("caption", value) for value in term.values]
    where = " OR ".join(sql for sql, _ in conditions)
    parameters = [one for _, given in conditions for one in given]
    # From end to end is quicker than from row to row in the order of an index.
    sql = f"SELECT DISTINCT asset_id FROM reference NOT INDEXED WHERE state = 'active' AND ({where})"  # noqa: S608 - texts are parameters
    return {row[0] for row in reader.rows(sql, parameters)}


def _fulfils(row: AssetRow, term: Term, now: datetime) -> bool:
    if term.field in _NUMBERS and term.operator:
        return number_matches(term, _NUMBERS[term.field](row))
    if term.field in _TIMES and term.operator:
        return _is_between(_TIMES[term.field](row), *time_bounds(term, now))
    return any(_MATCHES[term.field](row, value) for value in term.values)


def _is_between(moment: str, after: datetime | None, before: datetime | None) -> bool:
    if not moment:
        return False
    at = datetime.fromisoformat(moment)
    return (after is None or at >= after) and (before is None or at < before)


def _has(text: str, part: str) -> bool:
    return part.casefold() in text.casefold()


def _anywhere(row: AssetRow, part: str) -> bool:
    return any(_has(text, part) for text in (row.name, row.trigger, row.class_word, row.type, row.description))


_NUMBERS: dict[str, Any] = {"refs": lambda row: row.references, "dataset": lambda row: row.dataset_size}
_TIMES: dict[str, Any] = {"trained": lambda row: row.trained_at, "changed": lambda row: row.changed_at}
_MATCHES: dict[str, Any] = {
    "": _anywhere,
    "name": lambda row, value: _has(row.name, value),
    "type": lambda row, value: row.type.casefold().startswith(value.casefold()),
    "status": lambda row, value: row.status == value,
    "trigger": lambda row, value: _has(row.trigger, value),
    "trained": lambda row, _value: not row.trained_at,
    "rights": lambda row, _value: row.without_rights > 0,
    "captions": lambda row, _value: row.without_caption > 0,
    "dataset": lambda row, value: not row.dataset if value == "none" else row.unfrozen > 0,
    "approved": lambda row, value: bool(row.approved) == (value == "yes"),
    "archived": lambda row, value: value == "any" or row.archived == (value == "yes"),
}

_SORTS: dict[str, Any] = {
    "type": lambda row: row.type,
    "status": lambda row: STATUSES.index(row.status),
    "changed": lambda row: row.changed_at,
    "trained": lambda row: row.trained_at,
    "refs": lambda row: row.references,
    "version": lambda row: int(row.latest.rpartition("/v")[2] or 0),
}


def sort_assets(rows: Iterable[AssetRow], by: str, descending: bool) -> list[AssetRow]:
    """The assets in another order; equal ones by name.

    Args:
        rows: What to sort.
        by: ``name``, ``type``, ``status`` (what needs a person first), ``changed``, ``trained``, ``refs`` or ``version``.
        descending: From the last to the first; names of equal ones ascend all the same.
    """
    if by == "name":
        return sorted(rows, key=lambda row: row.name, reverse=descending)
    return sorted(sorted(rows, key=lambda row: row.name), key=_SORTS[by], reverse=descending)
