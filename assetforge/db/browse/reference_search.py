"""A search and an order for references as SQL."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from assetforge.db.browse.captions import Condition, has_part, has_tag
from assetforge.db.browse.reader import Reader
from assetforge.domain.search_language import Search, Term, time_bounds

__all__ = ["REFERENCE_SORTS", "reference_query"]

_OF_IMAGES = {
    "sharpness": "CAST(min(i.sharpness, 2000000.0) * 1000 AS INTEGER)",
    "brightness": "CAST(i.brightness * 100000 AS INTEGER)",
    "width": "i.width",
    "height": "i.height",
    "size": "min(i.width * i.height, 2000000000)",
}
_NUMBERS = {
    **_OF_IMAGES,
    "state": "(r.state != 'active')",
    "split": "(CASE r.split WHEN 'train' THEN 1 WHEN 'held_out' THEN 2 ELSE 3 END)",
    "near": "coalesce(r.near_group, 2147483647)",
}
_TEXTS = {
    "file": "lower(r.file_name)",
    "caption": "lower(substr(r.caption, 1, 40))",
    "rights": "lower(substr(r.rights, 1, 40))",
    "origin": "lower(substr(r.origin, 1, 40))",
    "format": "i.format",
    "asset": "a.name",
}

# SQLite sorts by one whole number, or by plain text, twice as fast as by anything else. Row ids rise with the time at which references were added.
_ORDERS = {
    "added": "r.id{way}",
    **{name: f"({number} << 32 | r.id){{way}}" for name, number in _NUMBERS.items()},
    **{name: f"{text}{{way}}, r.id{{way}}" for name, text in _TEXTS.items()},
}

REFERENCE_SORTS = tuple(_ORDERS)
"""What references can be sorted by; equal ones in the order in which they were added."""

_OPERATORS = ("<", "<=", ">", ">=", "=")
_SPLITS = {"train": "train", "held-out": "held_out", "none": ""}
_FORMATS = {"jpg": "jpeg", "tif": "tiff"}
_MOST_OF = 4
_IMAGE = " CROSS JOIN image i INDEXED BY ix_image_figures ON i.sha256 = r.sha256"
_IMAGE_FIELDS = ("width", "height", "sharpness", "format")


@dataclass(slots=True)
class _Where:
    """Conditions and their parameters; which tables they need, and what of a reference besides its asset."""

    conditions: list[str]
    parameters: list[str | float]
    needs_image: bool = False
    needs_state: bool = False
    needs_row: bool = False


def reference_query(
    reader: Reader, asset_id: int | None, search: Search, sort: str, now: datetime, *, descending: bool
) -> tuple[str, list[str | float]]:
    """The query for row ids, and its parameters.

    Args:
        reader: Asked how much of the film the asset is.
        asset_id: Row id of the asset; ``None`` is the whole film.
        search: Terms of :data:`~assetforge.domain.search_language.REFERENCE_FIELDS`.
        sort: One of :data:`REFERENCE_SORTS`.
        now: The present, with the time zone in which dates are meant.
        descending: The other way round.
    """
    where = _Where([], [])
    if asset_id is not None:
        where.conditions.append("r.asset_id = ?")
        where.parameters.append(asset_id)
    for term in search.terms:
        _add(where, term, now)
    where.needs_image |= sort in _OF_IMAGES or sort == "format"
    tables = _tables(reader, asset_id, where)
    if sort == "asset":
        tables += " JOIN asset a ON a.id = r.asset_id"
    condition = f" WHERE {' AND '.join(where.conditions)}" if where.conditions else ""
    order = _ORDERS[sort].format(way=" DESC" if descending else "")
    return f"SELECT r.id AS id FROM {tables}{condition} ORDER BY {order}", where.parameters  # noqa: S608 - texts are parameters


def _tables(reader: Reader, asset_id: int | None, where: _Where) -> str:
    """The tables in the order that is quickest: from end to end, or side by side in the order of hashes."""
    if where.needs_image and not where.needs_row:
        if asset_id is None and not where.needs_state:
            return "image i INDEXED BY ix_image_figures CROSS JOIN reference r INDEXED BY ix_reference_sha256 ON r.sha256 = i.sha256"
        return f"reference r INDEXED BY ix_reference_asset_state{_IMAGE}"
    most = asset_id is None or _is_most(reader, asset_id)
    index = "NOT INDEXED" if most else "INDEXED BY ix_reference_asset_touched"
    return f"reference r {index}{_IMAGE if where.needs_image else ''}"


def _is_most(reader: Reader, asset_id: int) -> bool:
    row = reader.row("SELECT count(*), (SELECT max(id) FROM reference) FROM reference WHERE asset_id = ?", (asset_id,))
    return row is not None and row[0] * _MOST_OF > (row[1] or 0)


def _add(where: _Where, term: Term, now: datetime) -> None:
    where.needs_image |= term.field in _IMAGE_FIELDS
    where.needs_state |= term.field == "state"
    where.needs_row |= term.field not in (*_IMAGE_FIELDS, "state")
    if term.operator and term.field in _IMAGE_FIELDS:
        operator = term.operator if term.operator in _OPERATORS else "="
        sql = f"i.{term.field} {operator} ?"
        where.parameters.append(term.number or 0.0)
    elif term.operator:
        sql, moments = _between("r.added_at", *time_bounds(term, now))
        where.parameters += moments
    else:
        found = [_CONDITIONS[term.field](value) for value in term.values]
        sql = " OR ".join(one for one, _ in found)
        where.parameters += (one for _, given in found for one in given)
    where.conditions.append(f"NOT ({sql})" if term.negated else f"({sql})")


def _between(column: str, after: datetime | None, before: datetime | None) -> Condition:
    conditions, parameters = ["1"], []
    for moment, operator in ((after, ">="), (before, "<")):
        if moment is not None:
            conditions.append(f"{column} {operator} ?")
            parameters.append(moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"))
    return " AND ".join(conditions), parameters


def _anywhere(text: str) -> Condition:
    found = [has_part(f"r.{column}", text) for column in ("file_name", "caption", "origin")]
    found.append(("r.sha256 LIKE ?", [f"{text}%"] if text.isalnum() else ["-"]))
    return " OR ".join(sql for sql, _ in found), [one for _, given in found for one in given]


def _part_or_nothing(column: str, nothing: str) -> Callable[[str], Condition]:
    return lambda value: (f"r.{column} = ''", []) if value == nothing else has_part(f"r.{column}", value)


_CONDITIONS: dict[str, Callable[[str], Condition]] = {
    "": _anywhere,
    "tag": lambda value: has_tag("r.caption", value),
    "caption": _part_or_nothing("caption", "missing"),
    "rights": _part_or_nothing("rights", "none"),
    "origin": _part_or_nothing("origin", "none"),
    "file": lambda value: has_part("r.file_name", value),
    "state": lambda value: ("r.state = ?", [value]),
    "split": lambda value: ("r.split = ?", [_SPLITS.get(value, value)]),
    "format": lambda value: ("i.format = ? COLLATE NOCASE", [_FORMATS.get(value.lower(), value)]),
    "near": lambda value: (f"r.near_group IS {'NOT ' if value == 'yes' else ''}NULL", []),
    "mask": lambda value: (f"r.mask {'!=' if value == 'yes' else '='} ''", []),
}
