"""From the digits of a reference's address to its row."""

from assetforge.db.browse.reader import Reader

__all__ = ["reference_at"]

_AT = "SELECT id FROM reference WHERE asset_id = ? AND sha256 >= ? AND sha256 < ? ORDER BY sha256 LIMIT 1"


def reference_at(reader: Reader, asset_id: int, digits: str) -> int | None:
    """Row id of the first reference of an asset whose hash begins with these digits; ``None`` without one."""
    found = reader.rows(_AT, (asset_id, digits, f"{digits}g"))
    return next((number for (number,) in found), None)
