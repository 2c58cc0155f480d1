"""Versions as lists show them: what each came from, what was said of it and decided about it; and anything of the film by a few letters."""

import json
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assetforge.db.browse.find import Found, find_anything
from assetforge.db.browse.reader import Reader, iso, json_list
from assetforge.db.browse.verdicts import NO_VERDICT, deciding_comparisons, verdicts_of
from assetforge.domain.names import dataset_address, version_address

__all__ = ["Found", "VersionRow", "find_anything", "version_ids", "version_rows"]

_ROWS = """
SELECT v.id, v.asset_id, a.name, v.number, v.stage, v.run_id, v.step, v.origin, v.note, v.family, v.created_at,
       p.number, d.id, d.number, d.train_count + d.held_out_count, r.recipe, r.params, r.cause, b.name, pr.dataset_id
FROM json_each(?) AS wanted JOIN version v ON v.id = wanted.value JOIN asset a ON a.id = v.asset_id
LEFT JOIN version p ON p.id = v.parent_id LEFT JOIN run r ON r.id = v.run_id LEFT JOIN dataset_version d ON d.id = r.dataset_id
LEFT JOIN base_model b ON b.id = r.base_model_id LEFT JOIN run pr ON pr.id = p.run_id
"""
_ALIASES = "SELECT version_id, name FROM alias WHERE asset_id IN (SELECT value FROM json_each(?)) ORDER BY name"
_PUBLISHED = "SELECT version_id, path FROM publication WHERE version_id IN (SELECT value FROM json_each(?)) GROUP BY version_id, path ORDER BY max(id) DESC"
_DECISIONS = """
SELECT to_version_id, name, actor, why, at FROM alias_move WHERE asset_id IN (SELECT value FROM json_each(?)) AND to_version_id IS NOT NULL
    AND name IN ('approved', 'rejected') ORDER BY id
"""
_ADDED = """
SELECT (SELECT count(*) FROM dataset_item WHERE dataset_id = :old), count(*), count(o.sha256), coalesce(sum(o.caption != n.caption), 0)
FROM dataset_item n LEFT JOIN dataset_item o ON o.dataset_id = :old AND o.sha256 = n.sha256 WHERE n.dataset_id = :new
"""
_NO_CHANGE = (0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRow:
    """A version in a list.

    Attributes:
        id: Row id.
        asset: Name of the asset.
        address: Such as ``mara/v2``.
        number: Number within the asset, from 1.
        stage: candidate, approved, rejected or retired.
        dataset: Address of the dataset version it learned from; empty when unknown.
        dataset_size: How many references that has.
        added: How many of them the dataset of the parent version had not.
        removed: How many of the parent version's dataset are not in it.
        recaptioned: How many both have, with other captions.
        run: Number of the run that made it; ``None`` when it was imported.
        recipe: Name of the recipe; empty when unknown.
        cause: Why the run was started; empty when unknown.
        parent: Address of the version before; empty when there is none.
        aliases: Names that point at it.
        outcome: Of the comparison that a decision over it rests on; empty without a verdict.
        headline: What that comparison says, in a sentence.
        comparison: Row id of that comparison; ``None`` without one.
        decision: The last review of it: ``approved``, ``rejected`` or nothing.
        reason: Why.
        actor: Who decided.
        decided_at: When, ISO 8601 in UTC; empty without one.
        published: Paths of published copies, relative to the film, newest first.
        created_at: When it was made, ISO 8601 in UTC.
        rank: Rank of the network; ``None`` when unknown.
        alpha: Its alpha; ``None`` when unknown.
        steps: Steps it was trained for; ``None`` when unknown.
        learning_rate: Learning rate; ``None`` when unknown.
        base: Name of the base model; its family when only that is known.
        origin: Name of the imported file; empty when it was trained here.
        note: What somebody wrote about it.
    """

    id: int
    asset: str
    address: str
    number: int
    stage: str
    dataset: str
    dataset_size: int
    added: int
    removed: int
    recaptioned: int
    run: int | None
    recipe: str
    cause: str
    parent: str
    aliases: tuple[str, ...]
    outcome: str
    headline: str
    comparison: int | None
    decision: str
    reason: str
    actor: str
    decided_at: str
    published: tuple[str, ...]
    created_at: str
    rank: float | None
    alpha: float | None
    steps: int | None
    learning_rate: float | None
    base: str
    origin: str
    note: str


def version_ids(
    reader: Reader, asset_id: int | None, *, stages: Sequence[str] = (), descending: bool = True
) -> "array[int]":
    """Row ids of versions: of an asset by number, of the whole film by when they were made.

    Args:
        reader: The film.
        asset_id: Row id of the asset; ``None`` is the whole film.
        stages: Only of these stages; empty takes all.
        descending: The newest first.

    Raises:
        StorageError: The database cannot be read.
        BusyError: Another process kept it locked.
    """
    conditions, parameters = ["1"], []
    if asset_id is not None:
        conditions.append("asset_id = ?")
        parameters.append(str(asset_id))
    if stages:
        conditions.append("stage IN (SELECT value FROM json_each(?))")
        parameters.append(json_list(stages))
    order = "id" if asset_id is None else "number"
    way = "DESC" if descending else "ASC"
    sql = f"SELECT id FROM version WHERE {' AND '.join(conditions)} ORDER BY {order} {way}"  # noqa: S608 - our own words only
    return reader.ids(sql, parameters)


def version_rows(reader: Reader, ids: Iterable[int]) -> dict[int, VersionRow]:
    """Versions by row id; those that are gone are not in it.

    Raises:
        StorageError: The database cannot be read.
        BusyError: Another process kept it locked.
    """
    with reader.snapshot():
        rows = reader.rows(_ROWS, (json_list(ids),))
        wanted, assets = json_list(row[0] for row in rows), json_list({row[1] for row in rows})
        aliases, published = _lists(reader, _ALIASES, assets), _lists(reader, _PUBLISHED, wanted)
        decisions = {row[0]: row[1:] for row in reader.rows(_DECISIONS, (assets,))}
        comparisons = deciding_comparisons(reader, (row[0] for row in rows))
        verdicts = verdicts_of(reader, comparisons.values())
        changes = {row[0]: _change(reader, row[12], row[19]) for row in rows}
    found = {}
    for row in rows:
        comparison = comparisons.get(row[0])
        verdict = verdicts.get(comparison, NO_VERDICT) if comparison is not None else NO_VERDICT
        decision, actor, why, at = decisions.get(row[0], ("", "", "", None))
        added, removed, recaptioned = changes[row[0]]
        found[row[0]] = VersionRow(
            **_origins(row),
            added=added,
            removed=removed,
            recaptioned=recaptioned,
            aliases=tuple(aliases.get(row[0], ())),
            outcome=verdict.outcome,
            headline=verdict.headline,
            comparison=comparison,
            decision=decision,
            reason=why,
            actor=actor,
            decided_at=iso(at),
            published=tuple(published.get(row[0], ())),
        )
    return found


def _origins(row: Sequence[Any]) -> dict[str, Any]:
    """What the row itself, its run and its dataset say."""
    number, _asset_id, asset, count, stage, run, step, origin, note, family, created_at = row[:11]
    parent, _dataset_id, dataset, dataset_size, recipe, params, cause, base, _before = row[11:]
    chosen: Mapping[str, Any] = json.loads(params) if params else {}
    return {
        "id": number,
        "asset": asset,
        "address": version_address(asset, count),
        "number": count,
        "stage": stage,
        "run": run,
        "origin": origin,
        "note": note,
        "created_at": iso(created_at),
        "parent": version_address(asset, parent) if parent is not None else "",
        "dataset": dataset_address(asset, dataset) if dataset is not None else "",
        "dataset_size": dataset_size or 0,
        "recipe": recipe or "",
        "cause": cause or "",
        "base": base or family,
        "rank": _number(chosen, "rank"),
        "alpha": _number(chosen, "alpha"),
        "steps": step or _whole(chosen, "steps"),
        "learning_rate": _number(chosen, "learning_rate"),
    }


def _number(params: Mapping[str, Any], name: str) -> float | None:
    """Trainers choose their own parameters; only numbers are taken for numbers."""
    value = params.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(params: Mapping[str, Any], name: str) -> int | None:
    value = _number(params, name)
    return int(value) if value is not None else None


def _lists(reader: Reader, sql: str, wanted: str) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for key, value in reader.rows(sql, (wanted,)):
        found.setdefault(key, []).append(value)
    return found


def _change(reader: Reader, dataset: int | None, before: int | None) -> tuple[int, int, int]:
    """How many references a dataset version added and removed, and how many have other captions, against an earlier one. Neither ever changes."""
    if dataset is None or before is None or dataset == before:
        return _NO_CHANGE
    key = ("dataset change", dataset, before)
    if key not in reader.remembered:
        row = reader.row(_ADDED, {"new": dataset, "old": before})
        old, new, common, recaptioned = row if row is not None else (0, 0, 0, 0)
        reader.remembered[key] = (new - common, old - common, recaptioned)
    found: tuple[int, int, int] = reader.remembered[key]
    return found
