"""What the lists of films and assets show, read with the standard library alone: listing films must feel instant."""

import sqlite3
import tomllib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from assetforge.db.blob_rows import open_for_reading
from assetforge.db.faults import database_error
from assetforge.db.migrate import HEAD
from assetforge.domain.states import OPEN_JOB_STATES
from assetforge.durable import says_full_disk
from assetforge.paths import ProjectPaths

__all__ = ["AssetOverview", "FilmOverview", "asset_overview", "film_overview", "film_title", "list_films"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmOverview:
    """A film in a list.

    Attributes:
        name: Its name.
        title: What people read.
        root: Its folder.
        id: Its UUID.
        assets: Number of assets that are worked on.
        references: Number of references in use.
        datasets: Number of dataset versions.
        versions: Number of LoRA versions.
        approved: Number of assets with an approved version.
        open_jobs: Number of jobs that are queued or running.
        last_activity: When something last happened, ISO 8601 in UTC; empty for a new film.
        problem: Why the facts could not be read; empty when they could.
        older: That is because the database is older than this program; opening the film brings it up to date.
    """

    name: str
    title: str
    root: Path
    id: str = ""
    assets: int = 0
    references: int = 0
    datasets: int = 0
    versions: int = 0
    approved: int = 0
    open_jobs: int = 0
    last_activity: str = ""
    problem: str = ""
    older: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetOverview:
    """An asset in a list.

    Attributes:
        name: Its name.
        type: Its type.
        references: Number of references in use.
        dataset: Newest dataset version, such as ``mara/d3``; empty without one.
        version: Newest LoRA version, such as ``mara/v2``; empty without one.
        approved: The version that ``mara@approved`` names; empty without one.
    """

    name: str
    type: str
    references: int
    dataset: str
    version: str
    approved: str


_FILM = """
SELECT (SELECT value FROM meta WHERE key = 'project_id'),
       (SELECT count(*) FROM asset WHERE archived_at IS NULL),
       (SELECT count(*) FROM reference WHERE state = 'active'),
       (SELECT count(*) FROM dataset_version),
       (SELECT count(*) FROM version),
       (SELECT count(*) FROM alias WHERE name = 'approved'),
       (SELECT count(*) FROM job WHERE state IN (SELECT value FROM json_each(?))),
       (SELECT max(at) FROM activity)
"""

_ASSETS = """
SELECT a.name, a.type,
       (SELECT count(*) FROM reference r WHERE r.asset_id = a.id AND r.state = 'active'),
       (SELECT max(d.number) FROM dataset_version d WHERE d.asset_id = a.id),
       (SELECT max(v.number) FROM version v WHERE v.asset_id = a.id),
       (SELECT v.number FROM alias l JOIN version v ON v.id = l.version_id WHERE l.asset_id = a.id AND l.name = 'approved')
FROM asset a WHERE a.archived_at IS NULL ORDER BY a.type, a.name
"""


def list_films(folder: Path) -> list[FilmOverview]:
    """Every film in a folder, by name; one that cannot be read is listed with the reason."""
    return [film_overview(path.parent) for path in sorted(folder.glob("*/project.toml"))]


def film_title(root: Path) -> str:
    """What people read instead of a film's name; the folder's name when its ``project.toml`` cannot be read."""
    try:
        config = tomllib.loads(ProjectPaths(root).config.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return root.name
    return str(config.get("title", "") or config.get("name", root.name))


def film_overview(root: Path) -> FilmOverview:
    """The facts about one film; never raises for what is wrong with it, but says so."""
    paths = ProjectPaths(root)
    try:
        config = tomllib.loads(paths.config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return FilmOverview(name=root.name, title="", root=root, problem=f"project.toml cannot be read: {error}")
    name, title = str(config.get("name", root.name)), str(config.get("title", ""))
    states = "[" + ",".join(f'"{state}"' for state in OPEN_JOB_STATES) + "]"
    try:
        with closing(open_for_reading(paths.database)) as connection:
            (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            if revision != HEAD:
                said = _of_another_revision(revision)
                return FilmOverview(name=name, title=title, root=root, problem=said, older=revision < HEAD)
            facts = connection.execute(_FILM, (states,)).fetchone()
    except (sqlite3.Error, TypeError) as error:
        full = isinstance(error, sqlite3.Error) and says_full_disk(database_error(error, paths.database, "read"))
        reason = "the disk is full" if full else error
        return FilmOverview(name=name, title=title, root=root, problem=f"its database cannot be read: {reason}")
    identifier, assets, references, datasets, versions, approved, open_jobs, last = facts
    return FilmOverview(
        name=name,
        title=title,
        root=root,
        id=identifier or "",
        assets=assets,
        references=references,
        datasets=datasets,
        versions=versions,
        approved=approved,
        open_jobs=open_jobs,
        last_activity=last.replace(" ", "T")[:19] + "+00:00" if last else "",
    )


def _of_another_revision(revision: str) -> str:
    if revision < HEAD:
        return "its database is older than this program and is brought up to date when the film is opened"
    return "its database was written by a newer assetforge"


def asset_overview(root: Path) -> list[AssetOverview]:
    """The assets of a film that are worked on, by type and name.

    Raises:
        sqlite3.Error: The database cannot be read; :func:`film_overview` says so in words.
    """
    with closing(open_for_reading(ProjectPaths(root).database)) as connection:
        rows = connection.execute(_ASSETS).fetchall()
    return [
        AssetOverview(
            name=name,
            type=kind,
            references=references,
            dataset=f"{name}/d{dataset}" if dataset else "",
            version=f"{name}/v{version}" if version else "",
            approved=f"{name}/v{approved}" if approved else "",
        )
        for name, kind, references, dataset, version, approved in rows
    ]
