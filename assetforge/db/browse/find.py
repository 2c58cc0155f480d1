"""Anything of the film by a few letters: ``mara``, ``mara v7``, ``mara@approved``, ``run 41``, digits of a reference, a part of a file name."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from assetforge.db.browse.asset_facts import STANDING
from assetforge.db.browse.captions import has_part
from assetforge.db.browse.reader import Reader, json_list
from assetforge.domain.names import LATEST, reference_address, version_address

__all__ = ["Found", "find_anything"]

_RUN = re.compile(r"(?:run\s*#?\s*|#)?(?P<number>\d{1,9})\Z")
_DIGITS = re.compile(r"(?:(?P<asset>[^\s/]+)/)?(?:ref/)?(?P<digits>[0-9a-f]{4,64})\Z")
_VERSION = re.compile(r"(?P<asset>[^\s/@]+)(?:\s*@\s*(?P<alias>[\w-]*)|[\s/]+v?(?P<number>\d{0,9}))\Z")

_ASSETS = "SELECT id, name, type, trigger, archived_at IS NOT NULL FROM asset ORDER BY name"
_VERSIONS = """
SELECT a.name, v.number, v.stage, coalesce(r.recipe, v.origin), v.created_at,
       (SELECT group_concat(l.name, ', ') FROM alias l WHERE l.version_id = v.id)
FROM version v JOIN asset a ON a.id = v.asset_id LEFT JOIN run r ON r.id = v.run_id
WHERE v.asset_id IN (SELECT value FROM json_each(?1)) AND (?2 = '' OR CAST(v.number AS TEXT) LIKE ?2 || '%')
ORDER BY v.asset_id, v.number = ?2 DESC, v.number DESC LIMIT ?3
"""
_ALIASED = """
SELECT a.name, v.number, v.stage, coalesce(r.recipe, v.origin), l.name
FROM alias l JOIN version v ON v.id = l.version_id JOIN asset a ON a.id = l.asset_id LEFT JOIN run r ON r.id = v.run_id
WHERE l.asset_id IN (SELECT value FROM json_each(?1)) AND substr(l.name, 1, length(?2)) = ?2 ORDER BY l.name LIMIT ?3
"""
_LATEST = f"SELECT n.number, n.stage FROM version n WHERE n.asset_id = ? AND {STANDING} ORDER BY n.number DESC LIMIT 1"  # noqa: S608 - our own words only
_RUNS = "SELECT r.id, a.name, r.state, r.recipe FROM run r JOIN asset a ON a.id = r.asset_id WHERE r.id = ?"
_BY_HASH = """
SELECT a.name, r.sha256, r.file_name, r.state FROM reference r INDEXED BY ix_reference_sha256 JOIN asset a ON a.id = r.asset_id
WHERE r.sha256 >= ? AND r.sha256 < ? LIMIT ?
"""
_BY_FILE = """
SELECT a.name, f.sha256, f.file_name, f.state FROM (
    SELECT r.id FROM reference r INDEXED BY ix_reference_file_name WHERE r.file_name > '' AND {} LIMIT ?) s
JOIN reference f ON f.id = s.id JOIN asset a ON a.id = f.asset_id
"""
_LETTERS_FOR_FILES = 3
_SURE = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Something that a few letters may mean.

    Attributes:
        kind: ``asset``, ``version``, ``run`` or ``reference``.
        address: What it is called: ``mara``, ``mara/v7``, ``mara/ref/3f9a1c``; of a run its number.
        title: For people.
        detail: A few more words.
        score: How well it fits, 0 to 1.
    """

    kind: str
    address: str
    title: str
    detail: str
    score: float


def find_anything(reader: Reader, text: str, limit: int) -> list[Found]:
    """What of the film a text may mean, the best first.

    Args:
        reader: The film.
        text: What somebody typed so far.
        limit: At most so many.

    Raises:
        StorageError: The database cannot be read.
        BusyError: Another process kept it locked.
    """
    wanted = " ".join(text.lower().split())
    if not wanted or limit < 1:
        return []
    with reader.snapshot():
        found = [
            *_assets(reader, wanted),
            *_versions(reader, wanted, limit),
            *_runs(reader, wanted),
            *_by_hash(reader, wanted, limit),
        ]
        # Names of files are many; who has called something by its name does not mean one.
        if len(wanted) >= _LETTERS_FOR_FILES and all(one.score < _SURE for one in found):
            found += _by_file(reader, wanted, limit)
    best: dict[tuple[str, str], Found] = {}
    for one in found:
        known = best.get((one.kind, one.address))
        if known is None or one.score > known.score:
            best[one.kind, one.address] = one
    # Equal ones stay as they came: assets by name, versions newest first.
    return sorted(best.values(), key=lambda one: -one.score)[:limit]


def fit(wanted: str, text: str) -> float:
    """How well a few letters fit a name, 0 (not at all) to 1 (it is the name): its beginning, the beginning of a word in it, a part, or letters in order."""
    text = text.lower()
    if wanted == text:
        return 1.0
    share = len(wanted) / max(1, len(text))
    if text.startswith(wanted):
        return 0.85 + 0.1 * share
    if re.search(rf"[-_ .]{re.escape(wanted)}", text):
        return 0.75 + 0.1 * share
    if wanted in text:
        return 0.6 + 0.1 * share
    return 0.2 + 0.3 * share if len(wanted) > 1 and _in_order(wanted, text) else 0.0


def _in_order(wanted: str, text: str) -> bool:
    letters = iter(text)
    return all(letter in letters for letter in wanted)


def _assets(reader: Reader, wanted: str) -> Iterator[Found]:
    for _id, name, kind, trigger, archived in reader.rows(_ASSETS):
        score = max(fit(wanted, name), 0.9 * fit(wanted, trigger))
        if score:
            detail = f"{kind}, trigger {trigger}{', archived' if archived else ''}"
            yield Found(kind="asset", address=name, title=name, detail=detail, score=score * (0.7 if archived else 1.0))


def _versions(reader: Reader, wanted: str, limit: int) -> Iterator[Found]:
    match = _VERSION.match(wanted)
    if match is None:
        return
    scores = {row[1]: (row[0], fit(match["asset"], row[1])) for row in reader.rows(_ASSETS)}
    best = sorted((name for name, (_, score) in scores.items() if score), key=lambda name: -scores[name][1])[:limit]
    ids = json_list(scores[name][0] for name in best)
    if match["alias"] is None:
        for name, number, stage, source, _at, aliases in reader.rows(_VERSIONS, (ids, match["number"], limit * 4)):
            same = 1.0 if str(number) == match["number"] else 0.9
            detail = ", ".join(part for part in (stage, aliases, source) if part)
            yield _version(name, number, detail, scores[name][1] * same)
        return
    for name, number, stage, source, alias in reader.rows(_ALIASED, (ids, match["alias"], limit * 4)):
        same = 1.0 if alias == match["alias"] else 0.9
        yield _version(name, number, f"{name}@{alias}, {stage}, {source}", scores[name][1] * same)
    if LATEST.startswith(match["alias"]):
        for name in best:
            newest = reader.row(_LATEST, (scores[name][0],))
            if newest is not None:
                yield _version(name, newest[0], f"{name}@{LATEST}, {newest[1]}", scores[name][1] * 0.9)


def _version(name: str, number: int, detail: str, score: float) -> Found:
    address = version_address(name, number)
    return Found(kind="version", address=address, title=address, detail=detail, score=score)


def _runs(reader: Reader, wanted: str) -> Iterator[Found]:
    match = _RUN.match(wanted)
    for number, asset, state, recipe in reader.rows(_RUNS, (int(match["number"]),)) if match else ():
        score = 1.0 if wanted.startswith(("run", "#")) else 0.8
        yield Found(
            kind="run", address=str(number), title=f"run {number}", detail=f"{asset}, {recipe}, {state}", score=score
        )


def _by_hash(reader: Reader, wanted: str, limit: int) -> Iterator[Found]:
    match = _DIGITS.match(wanted)
    if match:
        begin = match["digits"]
        for asset, sha256, file_name, state in reader.rows(_BY_HASH, (begin, f"{begin}g", limit)):
            if not match["asset"] or match["asset"] == asset:
                yield _reference(asset, sha256, file_name, state, 0.95 if match["asset"] else 0.7)


def _by_file(reader: Reader, wanted: str, limit: int) -> Iterator[Found]:
    condition, parameters = has_part("r.file_name", wanted)
    for asset, sha256, file_name, state in reader.rows(_BY_FILE.format(condition), (*parameters, limit)):
        yield _reference(asset, sha256, file_name, state, 0.8 * fit(wanted, file_name))


def _reference(asset: str, sha256: str, file_name: str, state: str, score: float) -> Found:
    address = reference_address(asset, sha256)
    detail = f"reference of {asset}{', excluded' if state == 'excluded' else ''}"
    return Found(
        kind="reference", address=address, title=file_name or address, detail=f"{address}, {detail}", score=score
    )
