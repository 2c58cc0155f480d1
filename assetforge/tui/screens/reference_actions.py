"""What can be done to the marked references, or to the one under the cursor."""

from pathlib import Path

from assetforge.db.browse.references import ReferenceCounts, ReferenceRow, reference_rows
from assetforge.tui.screens.asset_actions import frozen
from assetforge.tui.screens.base import Pane, acting
from assetforge.tui.screens.dialogs import (
    Choice,
    ChoiceDialog,
    ConfirmDialog,
    Field,
    FieldsDialog,
    TextDialog,
    WhyDialog,
)
from assetforge.tui.screens.importing import import_pictures
from assetforge.tui.widgets.items import VirtualItems
from assetforge.tui.widgets.path_suggester import PathSuggester
from assetforge.tui.words import count_of, plain

__all__ = ["ReferenceActions"]


class ReferenceActions(Pane):
    """A pane with a list of references that can be acted on.

    Args:
        asset: Name of the asset.
    """

    def __init__(self, asset: str) -> None:
        super().__init__()
        self.asset = asset
        self._counts: ReferenceCounts | None = None

    @property
    def items(self) -> VirtualItems[ReferenceRow]:
        """The list."""
        raise NotImplementedError

    def _chosen(self, state: str = "") -> list[str]:
        """Addresses of the marked references, or of the one under the cursor; only those of a state when one is given."""
        keys = self.items.marked()
        rows = reference_rows(self.session.reader, keys)
        addresses = [rows[key].address for key in keys if key in rows and state in ("", rows[key].state)]
        if not addresses and not state:
            self.film_app.tell("There is no reference here.")
        return addresses

    @acting
    async def action_import(self) -> None:
        """Take pictures in."""
        await import_pictures(self.film_app, self.session, self.asset)

    @acting
    async def action_exclude(self) -> None:
        """Put references aside."""
        from assetforge.services.references import exclude_reference

        addresses = self._chosen()
        if not addresses:
            return
        about = "They stay in older datasets and go into no new one."
        why = await self.app.push_screen_wait(WhyDialog(f"Exclude {count_of(len(addresses), 'reference')}", about))
        if isinstance(why, str):
            for address in addresses:
                await self.session.run(exclude_reference, address, why)
            self.items.set_marks(())
            self.film_app.tell(f"{count_of(len(addresses), 'reference')} excluded; u takes them back.")

    @acting
    async def action_restore(self) -> None:
        """Take references back."""
        from assetforge.services.references import restore_reference

        addresses = self._chosen(state="excluded")
        if not addresses:
            self.film_app.tell("Nothing here is excluded; state:excluded in the filter shows what is.")
            return
        for address in addresses:
            await self.session.run(restore_reference, address)
        self.items.set_marks(())
        self.film_app.tell(f"{count_of(len(addresses), 'reference')} back in use.")

    @acting
    async def action_hold_out(self) -> None:
        """Decide the split by hand."""
        addresses = self._chosen()
        if not addresses:
            return
        choices = [
            Choice("held_out", "hold out", "for scoring; never trained on"),
            Choice("train", "train", "never held out"),
            Choice("auto", "let the next freeze decide", "near-duplicates always stay together"),
        ]
        split = await self.app.push_screen_wait(
            ChoiceDialog(f"Split of {count_of(len(addresses), 'reference')}", choices)
        )
        if isinstance(split, str):
            await self._set(addresses, split=split)

    @acting
    async def action_rights(self) -> None:
        """Note what is allowed."""
        addresses = self._chosen()
        if not addresses:
            return
        await self.app.push_screen_wait(
            TextDialog(
                f"Rights of {count_of(len(addresses), 'reference')}",
                placeholder="cleared, actor's release 12",
                empty=True,
                take=lambda text: self._set(addresses, rights=text),
            )
        )

    @acting
    async def action_repeats(self) -> None:
        """Show some more often."""
        addresses = self._chosen()
        if not addresses:
            return
        await self.app.push_screen_wait(
            TextDialog(
                "How often per epoch?",
                value="1",
                check=lambda text: "" if text.strip().isdigit() and int(text) else "Write a whole number from 1.",
                take=lambda text: self._set(addresses, repeats=int(text)),
            )
        )

    @acting
    async def action_crop(self) -> None:
        """Choose the part that is trained on."""
        addresses, row = self._chosen(), self.items.current
        if not addresses or row is None:
            return
        await self.app.push_screen_wait(
            TextDialog(
                f"Crop of {count_of(len(addresses), 'reference')}, {row.width}×{row.height} pixels",
                "Left, top, right and bottom edge in pixels of the upright picture; nothing is the whole picture.",
                value=row.crop,
                placeholder=f"0,0,{row.width},{row.height}",
                empty=True,
                take=lambda text: self._set(addresses, crop=text),
            )
        )

    @acting
    async def action_mask(self) -> None:
        """Choose what is learned of it."""
        addresses, row = self._chosen(), self.items.current
        if not addresses or row is None:
            return
        await self.app.push_screen_wait(
            FieldsDialog(
                f"Mask of {count_of(len(addresses), 'reference')}",
                [
                    Field(
                        name="file",
                        title="file",
                        placeholder="~/masks/still-1.png",
                        required=True,
                        suggester=PathSuggester(),
                    )
                ],
                "A picture of the same shape: white is learned, black is not; the word none takes the mask away. The trainer's parameter mask says that masks are used.",
                take=lambda values: self._set(addresses, mask=Path(values["file"].strip()).expanduser()),
            )
        )

    async def _set(self, addresses: list[str], **values: object) -> None:
        from assetforge.services.reference_settings import set_references

        await self.session.run(set_references, addresses, **values)  # type: ignore[arg-type]
        self.film_app.tell(f"{count_of(len(addresses), 'reference')} changed.")

    @acting
    async def action_caption(self) -> None:
        """Write the caption."""
        from assetforge.services.captions import set_caption

        row = self.items.current
        if row is None:
            return
        shown = plain(row.caption)
        text = await self.app.push_screen_wait(
            TextDialog(
                f"Caption of {plain(row.file_name, 50)}",
                "The trigger is put before it when it is trained.",
                value=shown,
                empty=True,
            )
        )
        if isinstance(text, str) and text != shown:
            await self.session.run(set_caption, row.address, text)

    @acting
    async def action_freeze(self) -> None:
        """Make a dataset version."""
        from assetforge.services.datasets import freeze

        counts = self._counts
        if counts is not None and counts.without_caption:
            about = f"{count_of(counts.without_caption, 'reference')} without a caption would be trained on the trigger alone."
            if not await self.app.push_screen_wait(ConfirmDialog("Freeze anyway?", about, yes="Freeze")):
                return
        info = await self.session.run(freeze, self.asset)
        self.film_app.tell(frozen(info))
        for remark in info.remarks:
            self.film_app.tell(remark, severity="warning")

    @acting
    async def action_viewer(self) -> None:
        """The system's viewer, where there is one."""
        from assetforge.tui.opening import open_outside

        row = self.items.current
        if row is not None:
            self.film_app.tell(await self.session.run(open_outside, row.sha256, row.file_name))
