"""Films: make one, open one, find the one that is meant."""

import difflib
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Self

from sqlmodel import Session, select

from assetforge.db.engine import Database
from assetforge.db.migrate import migrate
from assetforge.db.models import Meta
from assetforge.domain.names import check_name
from assetforge.durable import storage_error
from assetforge.errors import NotFoundError, StorageError, UsageError
from assetforge.paths import ProjectPaths, projects_dir
from assetforge.services.project_config import ProjectConfig, read_config, write_new_config
from assetforge.services.relocation import find_arrival, remember_place, settle_in
from assetforge.store.blobs import BlobStore
from assetforge.store.reserve import hold_reserve

__all__ = ["Project", "create_project", "find_project", "open_project"]


@dataclass
class Project:
    """One opened film; what every service takes first. Use as a context manager, or call :meth:`close`.

    Attributes:
        paths: Its layout on disk.
        id: Its UUID; survives renames and moves.
        name: Its name.
        jobs_id: What its jobs are called elsewhere; like ``id``, but a copy has its own, so that it never takes the original's jobs for its own.
        remarks: Sentences that people should read, such as that the folder is a copy of another film's.
    """

    paths: ProjectPaths
    id: str
    name: str
    database: Database = field(repr=False)
    jobs_id: str = ""
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.jobs_id = self.jobs_id or self.id

    @property
    def root(self) -> Path:
        """The project folder."""
        return self.paths.root

    @cached_property
    def blobs(self) -> BlobStore:
        """Its bytes."""
        return BlobStore(self.paths.blobs)

    @property
    def config(self) -> ProjectConfig:
        """``project.toml`` as it is now, over the user's settings, under the environment; see :mod:`assetforge.config`."""
        from assetforge.config import load_settings

        own = read_config(self.paths.config)
        settings = load_settings(own)
        return own.model_copy(update={name: getattr(settings, name) for name in type(settings).model_fields})

    @contextmanager
    def read(self) -> Iterator[Session]:
        """See :meth:`assetforge.db.engine.Database.read`."""
        with self.database.read() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """See :meth:`assetforge.db.engine.Database.write`."""
        with self.database.write() as session:
            yield session

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def create_project(name: str, *, folder: Path | None = None, title: str = "") -> Project:
    """Make a film.

    Args:
        name: Short name, ``[a-z0-9][a-z0-9-]*``.
        folder: Where; by default a folder of that name among the user's projects.
        title: What people read.

    Raises:
        UsageError: The name cannot be used, or the folder is not empty.
    """
    check_name(name, what="project")
    root = (folder or projects_dir() / name).resolve()
    paths = ProjectPaths(root)
    made_here = _claim(paths)
    try:
        for path in (paths.blobs, paths.jobs, paths.logs, paths.loras, paths.reports):
            path.mkdir(exist_ok=True)
        migrate(paths.database, backups=paths.backups)
        database = Database(paths.database)
        project_id = str(uuid.uuid4())
        with database.write() as session:
            session.add(Meta(key="project_id", value=project_id))
            session.add(Meta(key="name", value=name))
        # Written last: a folder is a film from the moment it has its project.toml.
        write_new_config(paths.config, name=name, title=title or name)
    except BaseException as error:
        _remove_claim(paths, with_root=made_here)
        if isinstance(error, OSError):
            raise storage_error(error, root, "made") from error
        raise
    hold_reserve(paths.private)
    remember_place(paths)
    return Project(paths=paths, id=project_id, name=name, database=database)


def _remove_claim(paths: ProjectPaths, *, with_root: bool) -> None:
    for path in (paths.private, paths.loras, paths.reports):
        shutil.rmtree(path, ignore_errors=True)
    paths.config.unlink(missing_ok=True)
    if with_root:
        shutil.rmtree(paths.root, ignore_errors=True)


def _claim(paths: ProjectPaths) -> bool:
    """Make the private folder; of two processes that make the same film at once, one gets it.

    Returns:
        Whether the film's folder was made as well.
    """
    taken = UsageError(
        f"{paths.root} exists and is not empty.", hint="Choose another name or folder; nothing was changed."
    )
    new = not paths.root.exists()
    try:
        paths.root.mkdir(parents=True, exist_ok=True)
        if any(paths.root.iterdir()):
            raise taken
        paths.private.mkdir()
    except FileExistsError as error:
        raise taken from error
    except OSError as error:
        if new:
            with suppress(OSError):
                paths.root.rmdir()
        raise storage_error(error, paths.root, "made") from error
    return new


def open_project(root: Path) -> Project:
    """Open a film, migrating its database when this program is newer. A copy of a film's folder lets go of what belongs to the original.

    Raises:
        NotFoundError: There is no film in that folder.
        ConfigError: Its project.toml cannot be read.
        StorageError: Its database is damaged, or was written by a newer assetforge.
    """
    paths = ProjectPaths(root.resolve())
    if not paths.config.is_file():
        raise NotFoundError(f"There is no film in {root}.", hint="Make one with `assetforge project new NAME`.")
    if not paths.database.is_file():
        raise StorageError(
            f"The film in {root} has lost its database {paths.database}.",
            hint="Restore a copy from .assetforge/backups, or a backup, with `assetforge restore`.",
        )
    config = read_config(paths.config)
    hold_reserve(paths.private)
    arrival = find_arrival(paths)
    migrate(paths.database, backups=paths.backups)
    remarks = settle_in(paths, arrival) if arrival else ()
    database = Database(paths.database)
    with database.read() as session:
        facts = dict(session.exec(select(Meta.key, Meta.value)).all())
    project_id = facts.get("project_id")
    if project_id is None:
        database.close()
        raise StorageError(
            f"{paths.database} belongs to no film: it has no project id.",
            hint="Restore a backup with `assetforge restore`.",
        )
    return Project(
        paths=paths,
        id=project_id,
        name=config.name,
        database=database,
        jobs_id=facts.get("jobs_id", ""),
        remarks=remarks,
    )


def find_project(name: str = "") -> Path:
    """The folder of the film that is meant: a name, a path, or the film around the current folder, or the only film there is.

    Raises:
        NotFoundError: No film fits.
        UsageError: Several films fit and none was named.
    """
    if name:
        for candidate in (projects_dir() / name, Path(name)):
            if (candidate / "project.toml").is_file():
                return candidate
        close = difflib.get_close_matches(
            name, [path.parent.name for path in projects_dir().glob("*/project.toml")], n=1
        )
        hint = f"Did you mean {close[0]!r}?" if close else "`assetforge project list` shows what there is."
        raise NotFoundError(f"There is no film named {name!r}.", hint=hint)
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / "project.toml").is_file():
            return folder
    films = sorted(path.parent for path in projects_dir().glob("*/project.toml"))
    if len(films) == 1:
        return films[0]
    if not films:
        raise NotFoundError(
            "There is no film yet.", hint="Make one with `assetforge project new NAME`, or run `assetforge demo`."
        )
    names = ", ".join(film.name for film in films[:8])
    raise UsageError(
        f"There are several films ({names}).",
        hint="Name one with --project NAME, or run the command inside its folder.",
    )
