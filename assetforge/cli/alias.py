"""``assetforge alias``: movable names of versions, the log of every move and review, and what a name meant on a day."""

from typing import Annotated

from cyclopts import App, Parameter

from assetforge.cli.evidence import evidence_words
from assetforge.cli.output import emit, plain, table
from assetforge.cli.session import opened_project
from assetforge.errors import UsageError
from assetforge.services.releases import AliasEntry, alias_log, set_alias
from assetforge.services.version_history import aliases_at, read_moment

__all__ = ["app"]

app = App(name="alias", help="Movable names of versions, and who moved them.", help_format="plaintext")


@app.command(name="set")
def set_(alias: str, version: str, *, why: Annotated[str, Parameter(name=["--why", "-m"])] = "") -> None:
    """Point an alias at a version.

    Args:
        alias: Such as mara@hero; `approved` is moved by approving.
        version: Address, such as mara/v2.
        why: The reason.
    """
    with opened_project() as project:
        entry = set_alias(project, alias, version, why=why)
    before = f", before that {entry.previous}" if entry.previous else ""
    emit("alias-set", {"entry": entry}, lambda: plain(f"{alias} is {entry.version}{before}."))


@app.command
def log(asset: str = "", *, name: str = "") -> None:
    """Show every move of an alias and every review, newest first, with its evidence.

    Args:
        asset: Only of this asset.
        name: Only of this alias, such as approved; rejections are under rejected.
    """
    with opened_project() as project:
        entries = alias_log(project, asset, name)
    rows = [
        (
            entry.at,
            f"{entry.asset}@{entry.name}",
            entry.previous,
            entry.version,
            entry.actor,
            entry.why,
            evidence_words(entry.evidence),
        )
        for entry in entries
    ]
    columns = ("at", "alias", "before", "version", "by", "why", "evidence")
    emit("alias-log", {"entries": entries}, lambda: table(columns, rows, empty="No alias was moved yet."))


@app.command(name="at")
def at_(alias: str, moment: str) -> None:
    """Show what an alias named at a moment, since when, and who said so.

    Args:
        alias: Such as mara@approved.
        moment: A date, such as 2026-03-14, which means the end of that day here; or a time, such as 2026-03-14T12:00+01:00.
    """
    asset, separator, name = alias.partition("@")
    if not (separator and name):
        raise UsageError(f"{alias!r} does not name an alias.", hint="Write it as ASSET@NAME, such as mara@approved.")
    wanted = read_moment(moment)
    with opened_project() as project:
        entry = aliases_at(project, asset, wanted).get(name)
    emit("alias-at", {"alias": alias, "at": wanted, "entry": entry}, lambda: print_named(alias, moment, entry))


def print_named(alias: str, moment: str, entry: AliasEntry | None) -> None:
    """Say what an alias named at a moment, for people."""
    if entry is None:
        plain(f"{alias} named nothing on {moment}.")
        return
    plain(f"{alias} was {entry.version} on {moment}.")
    why = f": {entry.why}" if entry.why else ""
    plain(f"  since {entry.at.astimezone():%Y-%m-%d %H:%M}, by {entry.actor}{why}")
    if words := evidence_words(entry.evidence):
        plain(f"  {words}")
