"""``assetforge settings``: what can be set, what counts and why, and changing it with comments kept."""

import os
from typing import TYPE_CHECKING, Any, Literal

from cyclopts import App

from assetforge.cli.global_options import current_options
from assetforge.cli.output import emit, facts, plain, say, table
from assetforge.cli.session import film_folder
from assetforge.errors import NotFoundError, UsageError
from assetforge.paths import ProjectPaths

if TYPE_CHECKING:
    from assetforge.services.settings_file import SettingChange, SettingInfo

__all__ = ["app"]

app = App(name="settings", help="Settings of the film and your own.", help_format="plaintext")


@app.command(name="list")
def list_(section: str = "", *, changed: bool = False) -> None:
    """List the settings with what counts now and where it comes from.

    Args:
        section: Only this section, such as retrain.
        changed: Only what differs from the default.
    """
    from assetforge.services.settings_file import describe_settings, settings_files

    film = _film()
    infos = [
        info
        for info in describe_settings(film)
        if section in ("", info.section) and not (changed and info.source == "default")
    ]
    known = sorted({info.section for info in describe_settings(film)})
    if section and section not in known:
        raise NotFoundError(f"There is no section {section!r} of settings.", hint=f"There are {', '.join(known)}.")
    files = settings_files(film)

    def text() -> None:
        rows = [(info.key, _shown(info), info.source, info.problem or info.description) for info in infos]
        table(("setting", "value", "from", "what it is"), rows, empty="Everything has its default.")

    emit("settings-list", {"settings": [_document(info) for info in infos], "files": files}, text)
    for file in files:
        for problem in file.problems:
            say(problem)


@app.command
def show(key: str) -> None:
    """Show one setting: what it is, which values it takes, who says what.

    Args:
        key: Such as retrain.quiet_minutes.
    """
    from assetforge.services.settings_file import describe_settings, find_setting

    info = find_setting(key, describe_settings(_film()))
    field = info.field

    def text() -> None:
        facts(
            {
                "setting": info.key,
                "what it is": info.description,
                "value": _shown(info) or "nothing",
                "from": info.source,
                "default": field.show(info.default) or "nothing",
                "takes": ", ".join(map(str, info.choices)) or " ".join((field.range, field.unit)).strip(),
                "film says": None if info.film_value is None else field.show(info.film_value) or "empty",
                "user says": None if info.user_value is None else field.show(info.user_value) or "empty",
                "variable": info.variable,
                "may stand in": " or ".join(info.places),
                "problem": info.problem,
            }
        )

    emit("settings-show", {"setting": _document(info)}, text)


@app.command(name="set")
def set_(key: str, value: str, *, where: Literal["film", "user", ""] = "") -> None:
    """Change a setting; comments and order of the file stay.

    Args:
        key: Such as retrain.quiet_minutes, or an entry of a table such as defaults.recipe.character.
        value: Such as "20 min", yes, auto, or "render, compare"; a whole table as TOML.
        where: Whether it is written for the film or for you; by default for the film where one is meant and may say it.
    """
    from assetforge.services.settings_file import set_setting

    _report("settings-set", set_setting(key, value, where, _film()))


@app.command
def unset(key: str, *, where: Literal["film", "user", ""] = "") -> None:
    """Remove a setting from a file, so that what is weaker, or the default, counts.

    Args:
        key: Such as retrain.quiet_minutes.
        where: Whether it is removed for the film or for you; by default for the film where one is meant and may say it.
    """
    from assetforge.services.settings_file import unset_setting

    _report("settings-unset", unset_setting(key, where, _film()))


@app.command
def path(where: Literal["film", "user", ""] = "") -> None:
    """Print where the settings stand.

    Args:
        where: Only the file of the film, or your own.
    """
    from assetforge.services.settings_file import settings_files

    film = _film()
    files = [file for file in settings_files(film) if where in ("", file.where)]
    if not files:
        raise UsageError("No film is meant here.", hint="Name one with --project.")

    def text() -> None:
        for file in files:
            plain(str(file.path))

    emit("settings-path", {"files": files}, text)


def _film() -> ProjectPaths | None:
    """The film that is meant; none is no error here."""
    from assetforge.services.projects import find_project

    if current_options().project or os.environ.get("ASSETFORGE_PROJECT", ""):
        found = film_folder()
    else:
        try:
            found = find_project()
        except (NotFoundError, UsageError):
            found = None
    return ProjectPaths(found.resolve()) if found else None


def _report(name: str, change: "SettingChange") -> None:
    document = {
        "key": change.key,
        "where": change.where,
        "file": change.path,
        "before": change.before,
        "after": change.after,
        "sentence": change.sentence,
    }
    emit(name, document, lambda: plain(change.sentence))


def _shown(info: "SettingInfo") -> str:
    field = info.field
    shown: str = field.show(info.value)
    return f"{shown} {field.unit}" if shown and field.numeric and field.unit else shown


def _document(info: "SettingInfo") -> dict[str, Any]:
    field = info.field
    return {
        "key": info.key,
        "section": info.section,
        "title": info.title,
        "description": info.description,
        "kind": info.kind,
        "choices": info.choices,
        "unit": field.unit,
        "minimum": field.minimum,
        "maximum": field.maximum,
        "default": info.default,
        "value": info.value,
        "source": info.source,
        "film_value": info.film_value,
        "user_value": info.user_value,
        "places": info.places,
        "variable": info.variable,
        "problem": info.problem,
    }
