"""References of an asset or the whole film: all that are asked for as row ids, and pages of rows by id."""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from assetforge.db.browse.captions import count_tags
from assetforge.db.browse.reader import Reader, iso, json_list
from assetforge.db.browse.reference_search import REFERENCE_SORTS, reference_query
from assetforge.domain.names import reference_address
from assetforge.domain.reference_findings import BASE_RESOLUTION, FindingContext, reference_findings
from assetforge.domain.search_language import Search
from assetforge.domain.states import REFERENCE_STATES

__all__ = [
    "REFERENCE_SORTS",
    "FindingContext",
    "ReferenceCounts",
    "ReferenceRow",
    "caption_tags",
    "finding_context",
    "reference_counts",
    "reference_findings",
    "reference_ids",
    "reference_names",
    "reference_rows",
]

_NEWEST = "(SELECT d.id FROM dataset_version d WHERE d.asset_id = r.asset_id ORDER BY d.number DESC LIMIT 1)"

_ROWS = f"""
SELECT r.id, a.name, r.sha256, r.state, r.excluded_reason, r.file_name, r.caption, r.caption_source, r.rights, r.origin, r.crop, r.mask, r.repeats,
       r.split, r.near_group, i.width, i.height, i.format, i.size, i.sharpness, i.brightness, i.has_alpha, r.added_at,
       EXISTS (SELECT 1 FROM dataset_item t WHERE t.dataset_id = {_NEWEST} AND t.sha256 = r.sha256)
FROM json_each(?) AS wanted JOIN reference r ON r.id = wanted.value JOIN asset a ON a.id = r.asset_id JOIN image i ON i.sha256 = r.sha256
"""  # noqa: S608 - our own words only

_COUNTS = """
SELECT count(*), coalesce(sum(r.split = 'held_out'), 0) FROM reference r INDEXED BY ix_reference_asset_touched
WHERE r.asset_id IN (SELECT value FROM json_each(?)) AND r.state = ?
"""
_GROUPS = """
SELECT count(*) FROM (SELECT 1 FROM reference r INDEXED BY ix_reference_asset_touched
WHERE r.asset_id IN (SELECT value FROM json_each(?)) AND r.state = 'active' AND r.near_group IS NOT NULL
GROUP BY r.asset_id, r.near_group HAVING count(*) > 1)
"""
_MISSING = """
SELECT count(*) FROM reference r INDEXED BY ix_reference_without_{0}
WHERE r.{0} = '' AND r.state = 'active' AND r.asset_id IN (SELECT value FROM json_each(?))
"""
_CAPTIONS = "SELECT caption FROM reference {} WHERE state = 'active' AND caption != ''"
_SHARPNESS = """
SELECT CAST(i.sharpness * 1000 AS INTEGER) AS id FROM reference r INDEXED BY ix_reference_asset_state
CROSS JOIN image i INDEXED BY ix_image_figures ON i.sha256 = r.sha256 WHERE r.asset_id = ? AND r.state = 'active'
"""
_RESOLUTION = """
SELECT b.resolution AS id FROM run r JOIN base_model b ON b.id = r.base_model_id WHERE b.resolution > 0 ORDER BY r.asset_id = ? DESC, r.id DESC LIMIT 1
"""
_NAMES = "SELECT sha256, file_name FROM reference WHERE asset_id = ? AND sha256 IN (SELECT value FROM json_each(?))"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceRow:
    """A reference in a list.

    Attributes:
        id: Row id.
        address: Such as ``mara/ref/3f9a1c``.
        asset: Name of the asset.
        sha256: Hash of its bytes.
        state: ``active`` or ``excluded``.
        excluded_reason: Why it was put aside.
        file_name: What the file was called when it came.
        caption: Caption, without the trigger.
        caption_source: ``hand``, ``sidecar``, or the name of a captioner.
        rights: What is allowed with it.
        origin: Where it came from.
        crop: ``left,top,right,bottom`` in pixels of the upright picture, or empty.
        mask: Hash of its mask, or empty.
        repeats: How often it is shown per epoch.
        split: ``train``, ``held_out``, or empty while it is for the next freeze to decide.
        near_group: Number of its group of near-duplicates within the asset, if it has any.
        width: Pixels, upright.
        height: Pixels, upright.
        format: True file format.
        size: Bytes.
        sharpness: Of its best region, unbounded above.
        brightness: Mean luma, 0 to 1.
        transparent: Its file has an alpha channel.
        added_at: When it came, ISO 8601 in UTC.
        in_dataset: It is in the newest dataset version of its asset.
    """

    id: int
    address: str
    asset: str
    sha256: str
    state: str
    excluded_reason: str
    file_name: str
    caption: str
    caption_source: str
    rights: str
    origin: str
    crop: str
    mask: str
    repeats: int
    split: str
    near_group: int | None
    width: int
    height: int
    format: str
    size: int
    sharpness: float
    brightness: float
    transparent: bool
    added_at: str
    in_dataset: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceCounts:
    """How many references there are.

    Attributes:
        active: In use.
        excluded: Put aside.
        held_out: In use, for scoring.
        without_caption: In use, without a caption.
        without_rights: In use, without rights.
        near_groups: Groups of near-duplicates with at least two in use.
    """

    active: int
    excluded: int
    held_out: int
    without_caption: int
    without_rights: int
    near_groups: int


def reference_ids(
    reader: Reader, asset_id: int | None, search: Search, sort: str, descending: bool, now: datetime
) -> "array[int]":
    """Row ids of the references that a search finds, in order. Excluded ones are among them unless ``state:`` says otherwise.

    Args:
        reader: The film.
        asset_id: Row id of the asset; ``None`` is the whole film.
        search: Terms of :data:`~assetforge.domain.search_language.REFERENCE_FIELDS`.
        sort: One of :data:`REFERENCE_SORTS`; equal ones in the order in which they were added.
        descending: The other way round.
        now: The present, with the time zone in which dates are meant.

    Raises:
        KeyError: There is no such order.
        StorageError: The database cannot be read.
        BusyError: Another process kept it locked.
    """
    return reader.ids(*reference_query(reader, asset_id, search, sort, now, descending=descending))


def reference_rows(reader: Reader, ids: Iterable[int]) -> dict[int, ReferenceRow]:
    """References by row id; those that are gone are not in it.

    Raises:
        StorageError: The database cannot be read.
        BusyError: Another process kept it locked.
    """
    return {row[0]: _row(*row) for row in reader.rows(_ROWS, (json_list(ids),))}


def _row(number: int, asset: str, sha256: str, *rest: object) -> ReferenceRow:
    *facts, transparent, added_at, in_dataset = rest
    return ReferenceRow(
        id=number,
        address=reference_address(asset, sha256),
        asset=asset,
        sha256=sha256,
        transparent=bool(transparent),
        added_at=iso(str(added_at)),
        in_dataset=bool(in_dataset),
        **dict(zip(_FACTS, facts, strict=True)),  # type: ignore[arg-type]
    )


_FACTS = (
    *("state", "excluded_reason", "file_name", "caption", "caption_source", "rights", "origin", "crop", "mask"),
    *("repeats", "split", "near_group", "width", "height", "format", "size", "sharpness", "brightness"),
)


def reference_counts(reader: Reader, asset_id: int | None) -> ReferenceCounts:
    """How many references an asset, or the whole film, has.

    Raises:
        StorageError: The database cannot be read.
        BusyError: Another process kept it locked.
    """
    with reader.snapshot():
        assets = [asset_id] if asset_id is not None else [row[0] for row in reader.rows("SELECT id FROM asset")]
        wanted = (json_list(assets),)
        (active, held_out), (excluded, _) = (reader.rows(_COUNTS, (*wanted, one))[0] for one in REFERENCE_STATES)
        groups, without_caption, without_rights = (
            reader.rows(sql, wanted)[0][0] for sql in (_GROUPS, _MISSING.format("caption"), _MISSING.format("rights"))
        )
    return ReferenceCounts(
        active=active,
        excluded=excluded,
        held_out=held_out,
        without_caption=without_caption,
        without_rights=without_rights,
        near_groups=groups,
    )


def caption_tags(reader: Reader, asset_id: int | None, limit: int) -> list[tuple[str, int]]:
    """The commonest tags in captions of references in use, in lower case, and how often each stands there.

    Captions are split at commas; a caption without commas is split into words, the little ones left out.

    Raises:
        StorageError: The database cannot be read.
        BusyError: Another process kept it locked.
    """
    if asset_id is None:
        rows = reader.rows(_CAPTIONS.format("NOT INDEXED"))
    else:
        rows = reader.rows(f"{_CAPTIONS.format('')} AND asset_id = ?", (asset_id,))
    counted = count_tags(row[0] for row in rows)
    return sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))[:limit]


def reference_names(reader: Reader, asset_id: int, pictures: Iterable[str]) -> dict[str, str]:
    """File names of the references of an asset by the SHA-256 of their pictures; those that it does not have are not in it.

    Raises:
        StorageError: The database cannot be read.
        BusyError: Another process kept it locked.
    """
    return dict(reader.rows(_NAMES, (asset_id, json_list(pictures))))


def finding_context(reader: Reader, asset_id: int) -> FindingContext:
    """What :func:`reference_findings` holds the references of an asset against: the others, and the size that its last base model draws, else the film's.

    Raises:
        StorageError: The database cannot be read.
        BusyError: Another process kept it locked.
    """
    sharpness = sorted(reader.ids(_SHARPNESS, (asset_id,)))
    middle = sharpness[len(sharpness) // 2] / 1000 if sharpness else 0.0
    sizes = reader.ids(_RESOLUTION, (asset_id,))
    return FindingContext(median_sharpness=middle, resolution=sizes[0] if sizes else BASE_RESOLUTION)
