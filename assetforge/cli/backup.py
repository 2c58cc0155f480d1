"""``assetforge backup`` and ``assetforge restore``."""

import os
from pathlib import Path

from assetforge.cli.output import emit, plain, progress, say
from assetforge.cli.session import opened_project
from assetforge.cli.sizes import human_size
from assetforge.services.backups import back_up, verify_backup
from assetforge.services.backups import restore as restore_film

__all__ = ["backup", "restore"]


def backup(to: Path, *, whole: bool = False) -> None:
    """Copy the film's database, blobs and settings as they are at one moment; others may go on working.

    Args:
        to: A new folder, or a new file ending in .tar.
        whole: Also inboxes, published files, reports and the film's own plugins.
    """
    with opened_project(on_full_disk=True) as project, progress("copying") as update:
        info = back_up(project, to, whole=whole, progress=lambda done, total: update(done, total, "blobs"))
    emit("backup", {"backup": info}, lambda: plain(str(info.path)))
    say(f"{info.blobs} blobs, {human_size(info.size)}. `assetforge restore {info.path} --check` reads it back.")


def restore(source: Path, *, to: Path | None = None, check: bool = False) -> None:
    """Make a film from a backup; every byte is checked before the film appears.

    A database file, such as those in .assetforge/backups, replaces the database of the film that is meant here; the replaced one is kept.

    Args:
        source: What `assetforge backup` or `assetforge project archive` wrote, or a database file.
        to: Where the film goes: a new or empty folder; by default its name among your films.
        check: Only read the backup and compare every hash.
    """
    if source.suffix == ".db":
        _restore_database(source)
        return
    if check:
        info = verify_backup(source)
        emit(
            "restore-check",
            {"backup": info},
            lambda: plain(f"{source} is whole: {info.project} of {info.created_at}, {info.blobs} blobs"),
        )
        return
    with restore_film(source, to) as project:
        root, name, identifier = project.root, project.name, project.id
    emit("restore", {"project": name, "id": identifier, "root": root}, lambda: plain(str(root)))


def _restore_database(source: Path) -> None:
    from assetforge.cli.global_options import current_options
    from assetforge.services.database_copies import restore_database
    from assetforge.services.projects import find_project

    root = find_project(current_options().project or os.environ.get("ASSETFORGE_PROJECT", ""))
    kept, missing = restore_database(root, source)
    emit("restore-database", {"root": root, "replaced": kept, "missing": missing}, lambda: plain(str(root)))
    if kept:
        say(f"The database that was there lies in {kept}.")
    if missing:
        say(f"{missing} files that it names are missing; try `assetforge fsck --repair`.")
