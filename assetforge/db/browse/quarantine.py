"""Pictures of files that wait for a decision: those that could be read are in the store already, and so is what they look like."""

import re
from typing import NamedTuple

from assetforge.db.browse.reader import Reader

__all__ = ["KeptPicture", "kept_pictures"]

# What could not be read keeps the hash of the file that lay there before.
_KEPT = """
SELECT f.id, f.sha256, f.code, f.message, w.asset_id FROM watched_file f JOIN watch_root w ON w.id = f.root_id
WHERE f.state = 'quarantined' AND f.code IN ('small', 'near-duplicate') AND f.sha256 != ''
"""
_ALIKE = re.compile(r"/ref/([0-9a-f]+)\.?$")
"""The reference that a near-duplicate looks like, at the end of its message."""

_WITH_DIGITS = "SELECT sha256 FROM reference WHERE asset_id = ? AND sha256 >= ? AND sha256 < ? ORDER BY sha256 LIMIT 1"


class KeptPicture(NamedTuple):
    """What can be shown of a file that waits.

    Attributes:
        sha256: The blob with its bytes.
        twin: The blob of the reference that it looks like; empty when it waits for another reason, or that is none.
        twin_address: The reference's address, or empty.
    """

    sha256: str
    twin: str = ""
    twin_address: str = ""


def kept_pictures(reader: Reader) -> dict[int, KeptPicture]:
    """For each waiting file that could be read, by its number, the pictures to show.

    Raises:
        StorageError: The database cannot be read.
        BusyError: Another process kept it locked.
    """
    found = {}
    with reader.snapshot():
        for number, sha256, code, message, asset_id in reader.rows(_KEPT):
            alike = _ALIKE.search(message) if code == "near-duplicate" else None
            row = reader.row(_WITH_DIGITS, (asset_id, alike[1], f"{alike[1]}g")) if alike else None
            address = message.rstrip(".").rpartition(" ")[2] if row else ""
            found[number] = KeptPicture(sha256, row[0] if row else "", address)
    return found
