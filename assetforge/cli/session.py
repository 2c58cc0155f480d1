"""The film that a command works on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from assetforge.cli.global_options import current_options

if TYPE_CHECKING:
    from assetforge.services.projects import Project

__all__ = ["opened_project"]


@contextmanager
def opened_project() -> Iterator["Project"]:
    """The film named by ``--project``, or ``ASSETFORGE_PROJECT``, or found around the current folder; closed at the end.

    Its own plugins are loaded as far as the user trusts them.

    Raises:
        NotFoundError: There is no such film.
        UsageError: Several films fit.
    """
    import os

    from assetforge.services.projects import find_project, open_project

    name = current_options().project or os.environ.get("ASSETFORGE_PROJECT", "")
    with open_project(find_project(name)) as project:
        if project.paths.plugins.is_dir():
            from assetforge.extension.film_plugins import add_film_plugins
            from assetforge.extension.registry import get_registry

            add_film_plugins(get_registry(), project.root)
        yield project
