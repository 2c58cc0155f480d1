"""The film that a command works on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from assetforge.cli.global_options import current_options
from assetforge.cli.output import say
from assetforge.errors import NotFoundError
from assetforge.paths import ProjectPaths, projects_dir

if TYPE_CHECKING:
    from assetforge.services.projects import Project

__all__ = ["film_folder", "opened_project"]


@contextmanager
def opened_project(*, on_full_disk: bool = False) -> Iterator["Project"]:
    """The film named by ``--project``, or ``ASSETFORGE_PROJECT``, or found around the current folder; closed at the end.

    Its own plugins are loaded as far as the user trusts them.

    Args:
        on_full_disk: The command helps on a full disk, where not even the database can be read, and may use the film's reserve of space.

    Raises:
        NotFoundError: There is no such film.
        UsageError: Several films fit.
    """
    from assetforge.services.projects import find_project, open_project
    from assetforge.store.reserve import reserve_released

    name = current_options().project or os.environ.get("ASSETFORGE_PROJECT", "")
    root = find_project(name)
    room = reserve_released(ProjectPaths(root).private) if on_full_disk else nullcontext()
    with room, open_project(root) as project:
        for remark in project.remarks:
            say(remark)
        if project.paths.plugins.is_dir():
            from assetforge.extension.film_plugins import add_film_plugins
            from assetforge.extension.registry import get_registry

            add_film_plugins(get_registry(), project.root)
        yield project


def film_folder() -> Path | None:
    """The folder of the film that is meant, found without its database, so that the plugins of a damaged film can still be listed.

    Raises:
        NotFoundError: A film was named, and there is none of that name.
    """
    name = current_options().project or os.environ.get("ASSETFORGE_PROJECT", "")
    folders = (projects_dir() / name, Path(name)) if name else (Path.cwd(), *Path.cwd().parents)
    found = next((folder for folder in folders if (folder / "project.toml").is_file()), None)
    if name and found is None:
        raise NotFoundError(f"There is no film named {name!r}.", hint="`assetforge project list` shows what there is.")
    return found
