"""``assetforge project``: films."""

from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

from assetforge.cli.output import confirm, emit, facts, plain, progress, say, table
from assetforge.db.overview import asset_overview, film_overview, list_films
from assetforge.paths import projects_dir

if TYPE_CHECKING:
    from assetforge.db.overview import FilmOverview

__all__ = ["app"]

app = App(name="project", help="Films: make, list, show, put away.", help_format="plaintext")


@app.command
def new(name: str, *, title: str = "", folder: Path | None = None) -> None:
    """Make a film.

    Args:
        name: Short name: lowercase letters, digits, hyphens.
        title: What people read.
        folder: Where; by default a folder of that name among your films.
    """
    from assetforge.services.projects import create_project

    with create_project(name, title=title, folder=folder) as project:
        root, identifier = project.root, project.id
    _warn_of_network(root)
    emit("project-new", {"project": name, "id": identifier, "root": root}, lambda: plain(str(root)))
    say(f"{name} is ready. Next: assetforge --project {name} asset add NAME --type character")


@app.command(name="list")
def list_() -> None:
    """List your films."""
    folder = projects_dir()
    films = list_films(folder)

    def text() -> None:
        rows = [
            (
                film.name if film.name == film.root.name else f"{film.name} ({film.root.name})",
                film.title,
                film.assets,
                film.references,
                film.versions,
                film.approved,
                film.open_jobs,
                film.problem or film.last_activity[:16].replace("T", " "),
            )
            for film in films
        ]
        table(
            ("film", "title", "assets", "references", "versions", "approved", "jobs", "last activity (UTC)"),
            rows,
            empty=f"No film in {folder} yet. Make one: assetforge project new NAME",
        )

    emit("project-list", {"folder": folder, "projects": films}, text)


@app.command
def show(name: str = "") -> None:
    """Show a film and its assets.

    Args:
        name: The film; by default the one that is meant here.
    """
    film = film_overview(_folder_of(name))
    assets = [] if film.problem else asset_overview(film.root)

    def text() -> None:
        _print_film(film)
        if assets:
            plain("")
            rows = [
                (asset.name, asset.type, asset.references, asset.dataset, asset.version, asset.approved)
                for asset in assets
            ]
            table(("asset", "type", "references", "dataset", "newest", "approved"), rows)

    emit("project-show", {"project": film, "assets": assets}, text)


@app.command
def archive(to: Path, *, remove: bool = False, yes: bool = False) -> None:
    """Write the whole film into one file or folder, read it back, and with --remove delete the film.

    `assetforge restore` makes the film again.

    Args:
        to: A new folder, or a new file ending in .tar.
        remove: Delete the film's folder once the archive has been read back without a fault.
        yes: Do not ask.
    """
    from assetforge.cli.session import opened_project
    from assetforge.services.backups import archive_project

    with opened_project() as project:
        if remove:
            confirm(f"{project.root} will be deleted once {to} is written and verified.", yes=yes)
        with progress("archiving") as update:
            info = archive_project(
                project, to, remove=remove, progress=lambda done, total: update(done, total, "blobs")
            )
    emit("project-archive", {"archive": info, "removed": remove}, lambda: plain(str(info.path)))


def _warn_of_network(root: Path) -> None:
    from assetforge.store.filesystems import filesystem_of, is_networked

    kind = filesystem_of(root)
    if is_networked(kind):
        say(f"{root} lies on {kind}: several programs at once can damage a database there. A local disk is safer.")


def _folder_of(name: str) -> Path:
    import os

    from assetforge.cli.global_options import current_options
    from assetforge.cli.session import film_folder
    from assetforge.errors import NotFoundError

    if not name:
        found = film_folder()
        if found is not None:
            return found
        films = list_films(projects_dir())
        if len(films) == 1:
            return films[0].root
    wanted = name or current_options().project or os.environ.get("ASSETFORGE_PROJECT", "")
    for folder in (projects_dir() / wanted, Path(wanted)) if wanted else ():
        if (folder / "project.toml").is_file():
            return folder
    raise NotFoundError(
        f"There is no film named {wanted!r}." if wanted else "No film was named, and there is not just one.",
        hint="`assetforge project list` shows what there is.",
    )


def _print_film(film: "FilmOverview") -> None:
    facts(
        {
            "film": film.name,
            "title": film.title,
            "folder": film.root,
            "id": film.id,
            "assets": film.assets,
            "references": film.references,
            "datasets": film.datasets,
            "versions": film.versions,
            "approved": film.approved,
            "open jobs": film.open_jobs,
            "last activity": film.last_activity,
            "problem": film.problem,
        }
    )
