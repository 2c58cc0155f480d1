"""``assetforge alias``: movable names of versions, and the log of every move and review."""

from typing import Annotated

from cyclopts import App, Parameter

from assetforge.cli.output import emit, plain, table
from assetforge.cli.session import opened_project
from assetforge.services.releases import alias_log, set_alias

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
    """Show every move of an alias and every review, newest first.

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
            entry.evidence.get("sentence", ""),
        )
        for entry in entries
    ]
    columns = ("at", "alias", "before", "version", "by", "why", "evidence")
    emit("alias-log", {"entries": entries}, lambda: table(columns, rows, empty="No alias was moved yet."))
