"""Pictures of files that wait for a decision: those that could be read are in the store already, and so is what they look like."""

import re
from typing import NamedTuple

from assetforge.db.browse.reader import Reader
from assetforge.db.browse.reference_address import reference_at

__all__ = ["KeptPicture", "kept_pictures"]

# What could not be read keeps the hash of the file that lay there before.
_KEPT = """
SELECT f.id, f.sha256, f.code, f.message, w.asset_id FROM watched_file f JOIN watch_root w ON w.id = f.root_id
WHERE f.state = 'quarantined' AND f.code IN ('small', 'near-duplicate') AND f.sha256 != ''
"""
_ALIKE = re.compile(r"(\S+/ref/([0-9a-f]+))\.$")
"""The reference that a near-duplicate looks like, at the end of its message: its address, and the digits in it."""


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
            twin = reference_at(reader, asset_id, alike[2]) if alike else None
            row = reader.row("SELECT sha256 FROM reference WHERE id = ?", (twin,)) if twin is not None else None
            found[number] = KeptPicture(sha256, row[0], alike[1]) if alike and row else KeptPicture(sha256)
    return found
