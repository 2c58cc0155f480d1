"""For developers: ``python -m assetforge.db.revise "why"`` writes the revision that brings the newest one to the tables as they are in the code.

Read what it wrote, correct it, raise :data:`assetforge.db.migrate.HEAD`, and add a database of the old form to ``tests/db/old``.
"""

import sys
import tempfile
from pathlib import Path

from assetforge.db.migrate import HEAD, alembic_config, migrate
from assetforge.errors import UsageError

__all__ = ["write_revision"]


def write_revision(message: str, *, first: bool = False) -> None:
    """Compare the tables in the code with those that the revisions make, and write the difference as the next revision.

    Args:
        message: Why, in a few words.
        first: There is no revision yet.
    """
    from alembic import command

    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "forge.db"
        if not first:
            migrate(database, backups=Path(folder))
        number = "0001" if first else f"{int(HEAD) + 1:04d}"
        command.revision(alembic_config(database), message=message, autogenerate=True, rev_id=number)


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--first"]
    if len(arguments) != 1:
        raise UsageError('Write: python -m assetforge.db.revise "why" [--first]')
    write_revision(arguments[0], first="--first" in sys.argv)
