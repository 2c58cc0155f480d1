"""``assetforge dataset``: immutable lists of references."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from assetforge.cli.output import emit, facts, plain, progress, say, table
from assetforge.cli.session import opened_project

if TYPE_CHECKING:
    from assetforge.domain.dataset_diff import DatasetDiff
    from assetforge.services.datasets import DatasetInfo

__all__ = ["app"]

app = App(name="dataset", help="Dataset versions: immutable lists of references.", help_format="plaintext")

_DIGITS = 12


@app.command
def freeze(asset: str, /, *, note: str = "", held_out: float | None = None) -> None:
    """Make a dataset version of the asset's active references; when nothing changed, say which one it is.

    Args:
        asset: Name of the asset.
        note: For people.
        held_out: How many references to keep for scoring: a share such as 0.1, or a count such as 4. By default 10 %, and at least 2 from 8 references on.
    """
    from assetforge.services import datasets

    with opened_project() as project:
        frozen = datasets.freeze(project, asset, note=note, held_out=held_out)

    def text() -> None:
        said = "" if frozen.is_new else ", as before: nothing changed since"
        plain(f"{frozen.address}: {frozen.train_count} to train on, {frozen.held_out_count} held out{said}.")
        for remark in frozen.remarks:
            say(remark)

    emit("dataset-freeze", {"dataset": frozen}, text)


@app.command(name="list")
def list_(asset: str, /) -> None:
    """List the dataset versions of an asset, newest first.

    Args:
        asset: Name of the asset.
    """
    from assetforge.services.datasets import list_datasets

    with opened_project() as project:
        found = list_datasets(project, asset)
    rows = [
        (
            one.address,
            one.train_count,
            one.held_out_count,
            one.tree_hash[:_DIGITS],
            one.created_at,
            one.created_by,
            one.note,
        )
        for one in found
    ]
    columns = ("dataset", "train", "held out", "tree", "frozen", "by", "note")
    emit("dataset-list", {"datasets": found}, lambda: table(columns, rows, empty="No dataset version yet."))


@app.command
def show(address: str, /, *, limit: int = 100, after: str = "") -> None:
    """Show a dataset version and its references.

    Args:
        address: Such as mara/d3; the asset alone is its newest.
        limit: Most references to list.
        after: Hash after which to go on.
    """
    from assetforge.services.datasets import dataset_items, get_dataset

    with opened_project() as project:
        dataset = get_dataset(project, address)
        items = dataset_items(project, address, limit=limit, after=after)

    def text() -> None:
        facts(
            {
                "dataset": dataset.address,
                "tree": dataset.tree_hash,
                "parent": dataset.parent,
                "train": dataset.train_count,
                "held out": dataset.held_out_count,
                "frozen": dataset.created_at,
                "by": dataset.created_by,
                "note": dataset.note,
            }
        )
        rows = [(one.sha256[:_DIGITS], one.file_name, one.split, one.repeats, one.crop, one.caption) for one in items]
        table(("reference", "file", "split", "repeats", "crop", "caption"), rows)

    emit("dataset-show", {"dataset": dataset, "items": items}, text)


@app.command
def diff(newer: str, older: str = "", /, *, now: Annotated[bool, Parameter(negative=())] = False) -> None:
    """Show what changed between two dataset versions, or since the newest one.

    Args:
        newer: Such as mara/d3; the asset alone is its newest.
        older: Another one; by default the version before.
        now: The references of an asset as they are now, against its newest dataset version: what a freeze would change.
    """
    from assetforge.services.datasets import diff as compare

    if now:
        _tell_unfrozen(newer, older)
        return
    with opened_project() as project:
        new, old, changes = compare(project, newer, older)
    emit(
        "dataset-diff",
        {"newer": new.address, "older": old.address if old else "", "diff": changes},
        lambda: _tell(new, old, changes),
    )


def _tell_unfrozen(asset: str, older: str) -> None:
    from assetforge.services.dataset_pictures import unfrozen_changes

    with opened_project() as project:
        changes = unfrozen_changes(project, asset, older)
    pictures = [
        {"sha256": one.sha256, "address": one.address, "file_name": one.file_name, "kind": one.kind, "what": one.what}
        | {"before": one.before and one.before._asdict(), "after": one.after and one.after._asdict()}
        for one in changes.pictures
    ]

    def text() -> None:
        plain(f"{changes.older or 'nothing'} -> now: {changes.sentence or 'nothing changed'}.")
        rows = [(one.kind, one.address, one.file_name, ", ".join(one.what)) for one in changes.pictures]
        table(("what", "reference", "file", "differs in"), rows, empty="")
        if changes.pictures:
            say(f"`assetforge dataset freeze {asset}` makes {changes.newer} of it.")

    emit("dataset-unfrozen", {"newer": changes.newer, "older": changes.older, "pictures": pictures}, text)


def _tell(new: "DatasetInfo", old: "DatasetInfo | None", changes: "DatasetDiff") -> None:
    rows = [("added", sha256[:_DIGITS], "", "") for sha256 in changes.added]
    rows += [("removed", sha256[:_DIGITS], "", "") for sha256 in changes.removed]
    for kind, entries in (
        ("caption", changes.recaptioned),
        ("crop", changes.recropped),
        ("mask", changes.remasked),
        ("split", changes.resplit),
        ("repeats", changes.repeats),
    ):
        rows += [(kind, one.sha256[:_DIGITS], one.before, one.after) for one in entries]
    before = old.address if old else "nothing"
    plain(
        f"{before} -> {new.address}: {len(changes.added)} added, {len(changes.removed)} removed, {len(rows)} changes."
    )
    table(("what", "reference", "before", "after"), rows, empty="They are the same.")


@app.command
def export(address: str, destination: Path, /, *, to: Annotated[str, Parameter(name=["--to", "-t"])] = "kohya") -> None:
    """Write a dataset version as a folder that other tools train from.

    Args:
        address: Such as mara/d3; the asset alone is its newest.
        destination: A folder that does not exist yet or is empty.
        to: The exporter: kohya, imagefolder, or one of a plugin.
    """
    from assetforge.services.dataset_export import export_dataset

    with opened_project() as project, progress(f"Exporting {address}"):
        report = export_dataset(project, address, to, destination)

    def text() -> None:
        plain(f"{report.pictures} pictures of {report.dataset} are in {report.destination}.")
        if report.masks:
            say(f"Masks in masks/: {report.masks}.")
        if report.converted:
            say(f"{report.converted} of them were written as upright sRGB PNG files, which every tool shows alike.")

    emit("dataset-export", {"export": report}, text)
