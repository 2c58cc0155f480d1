"""What happened: to the film on a screen of its own, to an asset in its last tab."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.content import Content
from textual.widget import Widget

from assetforge.tui.rereading import Rereading
from assetforge.tui.screens.base import FilmScreen, Pane, crumbs
from assetforge.tui.widgets.items import ListSource
from assetforge.tui.widgets.virtual_table import Column, VirtualTable
from assetforge.tui.words import ago, dim, plain

if TYPE_CHECKING:
    from assetforge.services.activity import ActivityInfo

__all__ = ["ActivityPane", "ActivityTable", "HappenedScreen"]

_MOST = 2000
_CHANGES = ("set", "changed")
_INWARD = ("asset", "edits")
"""Details that are for the program: the subject says the first, and undo needs the second."""

_COLUMNS = (
    Column("at", "when", 14, sortable=False),
    Column("actor", "who", 12, sortable=False, priority=1),
    Column("what", "what", 0, sortable=False, minimum=20),
)


def _value(value: object, *, changed: bool) -> str:
    """A value; of one that was changed, what it was and what it became."""
    if changed and isinstance(value, list) and len(value) == 2:
        before, after = (plain(str(one), 80) if one not in ("", None) else "nothing" for one in value)
        return f"{before} → {after}"
    if isinstance(value, list):
        return ", ".join(plain(str(one), 80) for one in value)
    return plain(str(value), 200)


def _cells(row: "ActivityInfo") -> Sequence[Content | str]:
    detail = ", ".join(
        f"{plain(key)} {_value(value, changed=row.verb in _CHANGES)}"
        for key, value in row.detail.items()
        if key not in _INWARD and value not in ("", None, [], {})
    )
    what = Content.assemble(
        plain(row.verb),
        " ",
        (plain(row.subject), "bold"),
        (f"   {detail[:300]}" if detail else "", "$dim"),
    )
    return dim(ago(row.at)), dim(plain(row.actor)), what


class ActivityTable(VirtualTable["ActivityInfo"]):
    """What happened, newest first."""

    HELP = "What happened, who did it, and why; newest first."

    def __init__(self, *, id: str) -> None:
        super().__init__(_COLUMNS, _cells, empty="Nothing happened yet.", id=id)


class HappenedScreen(FilmScreen):
    """Everything that happened to the film."""

    HELP = ActivityTable.HELP

    def __init__(self) -> None:
        super().__init__()
        self._reread = Rereading(self._read)

    def content(self) -> Iterable[Widget]:
        """One table."""
        yield ActivityTable(id="happened")

    def place(self) -> Content:
        """The film's activity."""
        return crumbs(self.film_app.film_title, "activity")

    def film_changed(self) -> None:
        """Read the newest."""
        self.run_beside(self._reread.read, group="read")

    async def _read(self) -> None:
        from assetforge.services.activity import ActivityInfo, list_activity

        rows = await self.session.run(list_activity, limit=_MOST)
        self.query_one(ActivityTable).set_source(ListSource[ActivityInfo](rows, key=lambda row: row.id))


class ActivityPane(Pane):
    """What happened to one asset.

    Args:
        asset: Its name.
        asset_id: Its row id.
    """

    def __init__(self, asset: str, asset_id: int) -> None:
        super().__init__()
        self._asset, self._asset_id = asset, asset_id
        self._reread = Rereading(self._read)

    def compose(self) -> ComposeResult:
        """One table."""
        yield ActivityTable(id="asset-happened")

    def on_mount(self) -> None:
        """Read at once."""
        self.film_changed()

    def film_changed(self) -> None:
        """Read the newest."""
        self.run_beside(self._reread.read, group="read")

    async def _read(self) -> None:
        from assetforge.services.activity import ActivityInfo, list_activity

        rows = await self.session.run(list_activity, about=self._asset, limit=_MOST)
        self.query_one(ActivityTable).set_source(ListSource[ActivityInfo](rows, key=lambda row: row.id))
