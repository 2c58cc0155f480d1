"""Pictures of files that wait for a decision: those that could be read are in the store already."""

from assetforge.db.browse.reader import Reader

__all__ = ["kept_pictures"]

# What could not be read keeps the hash of the file that lay there before.
_KEPT = "SELECT id, sha256 FROM watched_file WHERE state = 'quarantined' AND code IN ('small', 'near-duplicate') AND sha256 != ''"


def kept_pictures(reader: Reader) -> dict[int, str]:
    """For each waiting file that could be read, by its number: the blob with its bytes.

    Raises:
        StorageError: The database cannot be read.
        BusyError: Another process kept it locked.
    """
    return {number: sha256 for number, sha256 in reader.rows(_KEPT)}  # noqa: C416 - rows are tuples of any length
