"""What can be done to assets from their list: open, train, freeze, add, import, change, put aside."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from textual.content import Content

from assetforge.errors import AssetForgeError
from assetforge.tui.hints import in_words
from assetforge.tui.screens.base import acting, reading
from assetforge.tui.words import count_of, plain

if TYPE_CHECKING:
    from textual.screen import Screen

    from assetforge.db.browse.assets import AssetRow
    from assetforge.services.assets import AssetInfo
    from assetforge.services.datasets import DatasetInfo
    from assetforge.services.projects import Project
    from assetforge.tui.app import FilmApp
    from assetforge.tui.screens.dialogs import FieldsDialog
    from assetforge.tui.session import FilmSession
    from assetforge.tui.widgets.items import VirtualItems

    _Base = Screen[None]
else:
    _Base = object

__all__ = ["AssetActions", "frozen"]

_NAMED = 8
_TOLD = 3

_KINDS = ("character", "prop", "style")
"""Types that are there without any plugin."""


class AssetActions(_Base):
    """Mixed into the screen that lists assets; needs its ``chosen`` rows."""

    if TYPE_CHECKING:

        @property
        def film_app(self) -> FilmApp: ...  # noqa: D102
        @property
        def session(self) -> FilmSession: ...  # noqa: D102
        @property
        def items(self) -> VirtualItems[AssetRow]: ...  # noqa: D102

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

            await self.film_app.wait_for_pictures()
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
        from assetforge.tui.screens.dialogs import ConfirmDialog

        names = ", ".join(plain(row.name) for row in rows[:8])
        title = f"Train {count_of(len(rows), 'asset')} with their own recipes?"
        if not await self.app.push_screen_wait(
            ConfirmDialog(title, f"{names}. What changed is frozen first.", yes="Train")
        ):
            return

        async def train(name: str) -> str:
            await self.session.run(freeze, name)
            asked = await self.session.run(request_training, name)
            return f"trained on exactly this already: {asked.reused}" if asked.reused else f"queued: {name}"

        await self._each(rows, train)
        await self.session.run(ensure_supervisor)

    async def _each(self, rows: "Sequence[AssetRow]", act: Callable[[str], Awaitable[str]]) -> None:
        """Do something to each asset, whatever is wrong with the others, and tell in one sentence what became of them.

        Args:
            rows: The assets.
            act: Gives what became of one as ``what: which``; those with the same ``what`` are told together.
        """
        became: dict[str, list[str]] = {}
        problems: list[str] = []
        for row in rows:
            try:
                what, _, which = (await act(row.name)).partition(": ")
                became.setdefault(what, []).append(which)
            except AssetForgeError as error:
                problems.append(f"{row.name}: {error.message}" if len(rows) > 1 else in_words(error))
        if became:
            said = [f"{what} {_some(which)}" for what, which in became.items()]
            self.film_app.tell("; ".join(said).capitalize() + ".")
        if problems:
            rest = f" And {len(problems) - _TOLD} more." if len(problems) > _TOLD else ""
            self.film_app.tell(plain(" ".join(problems[:_TOLD]), 360) + rest, severity="error")

    @acting
    async def action_freeze(self) -> None:
        """What is active now becomes a dataset version."""
        from assetforge.services.datasets import freeze

        rows = self.chosen()
        if len(rows) == 1:
            info = await self.session.run(freeze, rows[0].name)
            self.film_app.tell(frozen(info))
            return

        async def freeze_one(name: str) -> str:
            info = await self.session.run(freeze, name)
            return f"frozen: {info.address}" if info.is_new else f"nothing changed since: {info.address}"

        await self._each(rows, freeze_one)

    @acting
    async def action_new(self) -> None:
        """A new asset, then its pictures."""
        from assetforge.services.assets import add_asset
        from assetforge.tui.screens.dialogs import Field, FieldsDialog

        async def add(answer: dict[str, str]) -> str:
            values: dict[str, Any] = {key: value.strip() for key, value in answer.items()}
            return (await self.session.run(add_asset, values.pop("name"), values.pop("type"), **values)).name

        dialog = FieldsDialog(
            "New asset",
            [
                Field(name="name", title="name", placeholder="mara", required=True),
                Field(name="type", title="type", choices=[(kind, kind) for kind in _KINDS]),
                Field(name="trigger", title="trigger", placeholder="mrvale; empty takes the name"),
                Field(name="class_word", title="class word", placeholder="woman; empty takes that of the type"),
            ],
            "The trigger is a word that the base model does not know; it calls the LoRA.",
            check=_name_problem,
            take=add,
        )
        # The question is there at once, since people write on; what plugins add to the types comes when they are loaded.
        self._offer_types(dialog)
        name = await self.app.push_screen_wait(dialog)
        if isinstance(name, str):
            self.film_app.tell(f"{name} is there. i imports pictures.")

    @reading
    async def _offer_types(self, dialog: "FieldsDialog") -> None:
        kinds = await self.session.run(_asset_types)
        dialog.offer("type", [(kind, kind) for kind in kinds])

    @acting
    async def action_import(self) -> None:
        """Pictures of a folder become references."""
        from assetforge.tui.screens.importing import import_pictures

        if row := self._one():
            await import_pictures(self.film_app, self.session, row.name)

    @acting
    async def action_edit(self) -> None:
        """Words and presets of an asset."""
        row = self._one()
        if row is None:
            return
        from assetforge.services.assets import get_asset, set_asset
        from assetforge.tui.screens.dialogs import Field, FieldsDialog

        now = await self.session.run(get_asset, row.name)
        recipes, suites = await self.session.run(_presets_for, now)
        fields = [
            Field(name="trigger", title="trigger", value=now.trigger, required=True),
            Field(name="class_word", title="class word", value=now.class_word),
            Field(name="description", title="description", value=now.description),
            Field(
                name="recipe",
                title="recipe",
                value=now.recipe,
                choices=[("as the film and the type say", ""), *recipes],
            ),
            Field(name="suite", title="suite", value=now.suite, choices=[("as the type says", ""), *suites]),
        ]

        async def change(answer: dict[str, str]) -> bool:
            changes: dict[str, Any] = {one.name: answer[one.name] for one in fields if answer[one.name] != one.value}
            if changes:
                await self.session.run(set_asset, row.name, **changes)
            return bool(changes)

        about = "Frozen datasets keep the words they have."
        if await self.app.push_screen_wait(FieldsDialog(f"Change {row.name}", fields, about, take=change)):
            self.film_app.tell(f"{row.name} is changed.")

    @acting
    async def action_archive(self) -> None:
        """Put aside what is worked on, take back what was put aside."""
        from assetforge.services.assets import set_asset
        from assetforge.tui.screens.dialogs import ConfirmDialog

        rows = self.chosen()
        if not rows:
            return
        back = all(row.archived for row in rows)
        names = ", ".join(plain(row.name) for row in rows[:8])
        title = f"{'Take back' if back else 'Put aside'} {count_of(len(rows), 'asset')}?"
        if await self.app.push_screen_wait(ConfirmDialog(title, Content(f"{names}. Nothing is deleted."))):

            async def put(name: str) -> str:
                await self.session.run(set_asset, name, archived=not back)
                return f"{'back' if back else 'aside'}: {name}"

            await self._each(rows, put)
            self.items.set_marks(())


def frozen(info: "DatasetInfo") -> str:
    """What became of a freeze, in a sentence."""
    if not info.is_new:
        return f"Nothing changed since {info.address}."
    return f"{info.address}: {info.train_count} to train on, {info.held_out_count} held out."


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _presets_for(project: "Project", asset: "AssetInfo") -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Recipes and suites for assets of its type, and those that it has now, each as name and name."""
    from assetforge.services.recipes import recipes_for
    from assetforge.services.suites import list_suites

    recipes = [one.spec.name for one in recipes_for(asset.type)]
    suites = [
        one.name
        for one in list_suites(project)
        if not one.definition.asset_types or asset.type in one.definition.asset_types
    ]
    recipes += [asset.recipe] if asset.recipe and asset.recipe not in recipes else []
    suites += [asset.suite] if asset.suite and asset.suite not in suites else []
    return [(name, name) for name in recipes], [(name, name) for name in suites]


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
        return in_words(error)
    return ""
