"""What can be done to assets from their list: open, train, freeze, add, import, change, put aside."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from textual.content import Content

from assetforge.tui.screens.base import acting
from assetforge.tui.screens.dialogs import ConfirmDialog, Field, FieldsDialog
from assetforge.tui.words import count_of, plain

if TYPE_CHECKING:
    from textual.screen import Screen

    from assetforge.db.browse.assets import AssetRow
    from assetforge.tui.app import FilmApp
    from assetforge.tui.session import FilmSession

    _Base = Screen[None]
else:
    _Base = object

__all__ = ["AssetActions", "import_pictures"]


async def import_pictures(app: "FilmApp", session: "FilmSession", asset: str) -> None:
    """Ask for a folder or file and take its pictures in, with what became of them as a sentence."""
    answer = await app.push_screen_wait(
        FieldsDialog(
            f"Import pictures as references of {asset}",
            [
                Field(name="path", title="folder or file", placeholder="~/stills/mara", required=True),
                Field(name="origin", title="where from", placeholder="stills of day 3"),
                Field(name="rights", title="rights", placeholder="cleared, actor's release 12"),
            ],
            "Files are only read and copied. Captions come from .txt files beside them.",
        )
    )
    if not isinstance(answer, dict):
        return
    from assetforge.services.ingest import add_references

    path = Path(answer["path"].strip()).expanduser()
    app.tell(f"Reading {path} …")
    report = await session.run(add_references, asset, [path], origin=answer["origin"], rights=answer["rights"])
    parts = [f"{count_of(len(report.added), 'picture')} added to {asset}"]
    if report.captions:
        parts.append(f"{count_of(report.captions, 'caption')} read")
    if report.duplicates:
        parts.append(f"{len(report.duplicates)} were there already")
    if report.near_duplicates:
        parts.append(f"{len(report.near_duplicates)} look like others")
    app.tell(", ".join(parts) + ".")
    for refused in report.refused[:3]:
        app.tell(f"{refused.message} {refused.hint}".strip(), severity="warning")
    if len(report.refused) > 3:
        app.tell(f"{len(report.refused)} files were refused in all.", severity="warning")


class AssetActions(_Base):
    """Mixed into the screen that lists assets; needs its ``chosen`` rows."""

    if TYPE_CHECKING:

        @property
        def film_app(self) -> FilmApp: ...
        @property
        def session(self) -> FilmSession: ...

    def chosen(self) -> "list[AssetRow]":
        """The marked assets, or the one under the cursor."""
        raise NotImplementedError

    def _one(self) -> "AssetRow | None":
        rows = self.chosen()
        if not rows:
            self.film_app.tell("There is no asset here yet; n adds one.")
        return rows[0] if rows else None

    @acting
    async def action_open(self) -> None:
        """Its references, captions, datasets, versions."""
        if row := self._one():
            await self.film_app.open_asset(row.name)

    @acting
    async def action_compare(self) -> None:
        """The newest version against the approved one."""
        if row := self._one():
            if not row.latest:
                self.film_app.tell(f"{row.name} has no version yet; t trains one.", severity="warning")
                return
            from assetforge.tui.screens.compare import open_comparison

            await open_comparison(self.film_app, self.session, row.latest)

    @acting
    async def action_train(self) -> None:
        """One asset by a form; several with their own recipes after a yes."""
        rows = self.chosen()
        if len(rows) == 1:
            from assetforge.tui.screens.new_run import NewRunScreen

            await self.app.push_screen(NewRunScreen(rows[0].name))
        elif rows:
            await self._train_all(rows)

    async def _train_all(self, rows: "list[AssetRow]") -> None:
        from assetforge.jobs.background import ensure_supervisor
        from assetforge.services.datasets import freeze
        from assetforge.services.training import request_training

        names = ", ".join(plain(row.name) for row in rows[:8])
        title = f"Train {count_of(len(rows), 'asset')} with their own recipes?"
        if not await self.app.push_screen_wait(
            ConfirmDialog(title, f"{names}. What changed is frozen first.", yes="Train")
        ):
            return
        for row in rows:
            await self.session.run(freeze, row.name)
            asked = await self.session.run(request_training, row.name)
            if asked.reused:
                self.film_app.tell(f"{asked.reused} was trained on exactly this already.")
        await self.session.run(ensure_supervisor)

    @acting
    async def action_freeze(self) -> None:
        """What is active now becomes a dataset version."""
        from assetforge.services.datasets import freeze

        for row in self.chosen():
            info = await self.session.run(freeze, row.name)
            if info.is_new:
                self.film_app.tell(f"{info.address}: {info.train_count} to train on, {info.held_out_count} held out.")
            else:
                self.film_app.tell(f"Nothing changed since {info.address}.")

    @acting
    async def action_new(self) -> None:
        """A new asset, then its pictures."""
        from assetforge.services.assets import add_asset

        kinds = await self.session.run(_asset_types)
        answer = await self.app.push_screen_wait(
            FieldsDialog(
                "New asset",
                [
                    Field(name="type", title="type", choices=[(kind, kind) for kind in kinds]),
                    Field(name="name", title="name", placeholder="mara", required=True),
                    Field(name="trigger", title="trigger", placeholder="mrvale; empty takes the name"),
                    Field(name="class_word", title="class word", placeholder="woman; empty takes that of the type"),
                ],
                "The trigger is a word that the base model does not know; it calls the LoRA.",
                check=_name_problem,
            )
        )
        if isinstance(answer, dict):
            values: dict[str, Any] = {key: value.strip() for key, value in answer.items()}
            added = await self.session.run(add_asset, values.pop("name"), values.pop("type"), **values)
            self.film_app.tell(f"{added.name} is there. Its inbox is {added.references}; i imports pictures.")

    @acting
    async def action_import(self) -> None:
        """Pictures of a folder become references."""
        if row := self._one():
            await import_pictures(self.film_app, self.session, row.name)

    @acting
    async def action_edit(self) -> None:
        """Words and presets of an asset."""
        row = self._one()
        if row is None:
            return
        from assetforge.services.assets import get_asset, set_asset

        now = await self.session.run(get_asset, row.name)
        fields = [
            Field(name="trigger", title="trigger", value=now.trigger, required=True),
            Field(name="class_word", title="class word", value=now.class_word),
            Field(name="description", title="description", value=now.description),
            Field(name="recipe", title="recipe", value=now.recipe, placeholder="as the film and the type say"),
            Field(name="suite", title="suite", value=now.suite, placeholder="as the type says"),
        ]
        answer = await self.app.push_screen_wait(
            FieldsDialog(f"Change {row.name}", fields, "Frozen datasets keep the words they have.")
        )
        if isinstance(answer, dict):
            changes = {one.name: answer[one.name] for one in fields if answer[one.name] != one.value}
            if changes:
                await self.session.run(set_asset, row.name, **cast("dict[str, Any]", changes))
                self.film_app.tell(f"{row.name} is changed.")

    @acting
    async def action_archive(self) -> None:
        """Put aside what is worked on, take back what was put aside."""
        from assetforge.services.assets import set_asset

        rows = self.chosen()
        if not rows:
            return
        back = all(row.archived for row in rows)
        names = ", ".join(plain(row.name) for row in rows[:8])
        title = f"{'Take back' if back else 'Put aside'} {count_of(len(rows), 'asset')}?"
        if await self.app.push_screen_wait(ConfirmDialog(title, Content(f"{names}. Nothing is deleted."))):
            for row in rows:
                await self.session.run(set_asset, row.name, archived=not back)


def _asset_types(_project: object) -> list[str]:
    from assetforge.api.specs import AssetTypeSpec
    from assetforge.extension.registry import get_registry

    return [one.spec.name for one in get_registry().every(AssetTypeSpec)]


def _name_problem(values: dict[str, str]) -> str:
    from assetforge.domain.names import check_name
    from assetforge.errors import AssetForgeError

    try:
        check_name(values["name"].strip(), what="asset")
    except AssetForgeError as error:
        return f"{error.message} {error.hint}".strip()
    return ""
