"""``assetforge ref``: source pictures of assets."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from assetforge.cli.output import emit, facts, plain, progress, say, table
from assetforge.cli.session import opened_project
from assetforge.errors import CheckFailedError

if TYPE_CHECKING:
    from assetforge.services.ingest import IngestReport

__all__ = ["app"]

app = App(name="ref", help="References: the source pictures of an asset.", help_format="plaintext")

_SHOWN = 20


@app.command
def add(
    asset: str,
    paths: Annotated[list[Path] | None, Parameter(negative=())] = None,
    /,
    *,
    flat: Annotated[bool, Parameter(negative=())] = False,
    origin: str = "",
    rights: str = "",
    workers: int = 0,
) -> None:
    """Make references of pictures; the files are only read, and one bad file never stops the rest.

    A text file of the same name beside a picture is its caption. Ends with exit code 1 when pictures were refused and nothing else could be done.

    Args:
        asset: Name of the asset.
        paths: Files and folders; by default the asset's own references folder.
        flat: Leave out folders inside folders.
        origin: Where the pictures come from, such as a location or a camera.
        rights: What is allowed with them, such as a release or a licence.
        workers: Processes; by default as many as are worth it.
    """
    from assetforge.services.ingest import add_references

    with opened_project() as project, progress(f"Adding to {asset}") as update:
        report = add_references(
            project,
            asset,
            paths or [],
            recursive=not flat,
            origin=origin,
            rights=rights,
            progress=update,
            workers=workers,
        )
    emit("ref-add", {"report": report}, lambda: _tell(report))
    if report.refused and not (report.added or report.duplicates):
        first = report.refused[0]
        raise CheckFailedError(f"Nothing was added to {asset}: {first.message}", hint=first.hint)


def _tell(report: "IngestReport") -> None:
    plain(f"{len(report.added)} added, {len(report.duplicates)} known already, {len(report.refused)} refused.")
    if report.captions:
        plain(f"{report.captions} captions were read from text files.")
    if report.masks:
        plain(f"{report.masks} masks were found beside pictures.")
    table(
        ("refused", "why", "what to do"), [(one.path.name, one.message, one.hint) for one in report.refused], empty=""
    )
    for one in report.renamed[:_SHOWN]:
        say(f"{one.path.name} is called {one.announced} and is a {one.format} picture; it was taken all the same.")
    for address in report.captions_kept[:_SHOWN]:
        say(f"{address} keeps the caption that was written by hand; its text file says something else.")
    if report.near_duplicates:
        say(f"{len(report.near_duplicates)} look like others; they will share a split:")
    for near in report.near_duplicates[:_SHOWN]:
        say(f"  {near.address} is like {near.other} ({near.bits} of 64 bits differ)")


@app.command(name="list")
def list_(
    asset: str,
    /,
    *,
    state: Literal["active", "excluded", "all"] = "active",
    limit: int = 100,
    after: str = "",
) -> None:
    """List references of an asset, by hash.

    Args:
        asset: Name of the asset.
        state: Which ones.
        limit: Most references to list.
        after: Hash after which to go on; the JSON document of the page before has it as ``next``.
    """
    from assetforge.services.references import list_references

    with opened_project() as project:
        page = list_references(project, asset, state="" if state == "all" else state, limit=limit, after=after)
    rows = [
        (
            one.address,
            one.file_name,
            f"{one.width}x{one.height}",
            one.crop,
            one.repeats,
            one.split,
            round(one.sharpness),
            one.state,
            one.caption,
        )
        for one in page.items
    ]

    def text() -> None:
        columns = ("reference", "file", "pixels", "crop", "repeats", "split", "sharpness", "state", "caption")
        table(columns, rows, empty="No reference.")
        if page.next:
            say(f"{len(rows)} of {page.total}; go on with --after {page.next}")

    emit("ref-list", {"references": page.items, "total": page.total, "next": page.next}, text)


@app.command
def show(address: str, /) -> None:
    """Show everything about a reference.

    Args:
        address: Such as mara/ref/3f9a1c.
    """
    from assetforge.services.captions import caption_history
    from assetforge.services.summaries import summarise_reference
    from assetforge.store.thumbs import ThumbStore

    with opened_project() as project:
        seen = summarise_reference(project, address)
        reference = seen.reference
        history = caption_history(project, address)
        thumbnail = ThumbStore(project.paths.thumbs).ensure(reference.sha256, project.blobs)
        blob = project.blobs.path(reference.sha256)

    def text() -> None:
        facts(
            {
                "reference": reference.address,
                "sha256": reference.sha256,
                "file": reference.file_name,
                "state": reference.state,
                "why": reference.excluded_reason,
                "picture": f"{reference.format} {reference.mode} {reference.width}x{reference.height}, {reference.size} bytes",
                "caption": reference.caption,
                "caption from": reference.caption_source,
                "trained on": f"{seen.trained} ({'' if seen.tokens_exact else 'about '}{seen.tokens} tokens)",
                "crop": reference.crop,
                "mask": reference.mask,
                "repeats": reference.repeats,
                "split": reference.split,
                "sharpness": reference.sharpness,
                "brightness": reference.brightness,
                "origin": reference.origin,
                "rights": reference.rights,
                "worth a look": ", ".join(seen.findings),
                "looks like": ", ".join(seen.alike),
                "datasets": ", ".join(seen.datasets),
                "added": reference.added_at,
                "thumbnail": thumbnail,
                "stored as": blob,
            }
        )
        if len(history) > 1:
            table(("at", "by", "from", "caption"), [(one.at, one.author, one.source, one.text) for one in history])

    about = {field.name: getattr(seen, field.name) for field in dataclasses.fields(seen) if field.name != "reference"}
    emit(
        "ref-show",
        {"reference": reference, **about, "captions": history, "thumbnail": thumbnail, "blob": blob},
        text,
    )


@app.command(name="set")
def set_(
    addresses: Annotated[list[str], Parameter(negative=())],
    /,
    *,
    crop: str | None = None,
    mask: Path | None = None,
    repeats: int | None = None,
    split: Literal["train", "held-out", "auto"] | None = None,
    rights: str | None = None,
) -> None:
    """Decide how references are trained on, all of them or none; `dataset freeze` takes it over, and older dataset versions stay as they are.

    Args:
        addresses: One or several, such as mara/ref/3f9a1c.
        crop: The part to use, as LEFT,TOP,RIGHT,BOTTOM in pixels of the upright picture; "none" takes the whole picture again.
        mask: A picture of the same shape that says what to learn, white, and what not, black; "none" takes it away. Used with the trainer's `mask=file`.
        repeats: How often each is shown per epoch, 1 to 1000.
        split: Train on them, or hold them out for scoring; "auto" lets the next freeze choose again. Near-duplicates share a split.
        rights: What is allowed with them, in your words.
    """
    from assetforge.services.reference_settings import set_references

    wanted: dict[str, Literal["train", "held_out", "auto"]] = {"train": "train", "held-out": "held_out", "auto": "auto"}
    with opened_project() as project:
        references = set_references(
            project,
            addresses,
            crop=crop,
            mask=mask,
            repeats=repeats,
            split=wanted[split] if split else None,
            rights=rights,
        )
    rows = [
        (one.address, f"{one.width}x{one.height}", one.crop, one.mask[:12], one.repeats, one.split, one.rights)
        for one in references
    ]
    emit(
        "ref-set",
        {"references": references},
        lambda: table(("reference", "pixels", "crop", "mask", "repeats", "split", "rights"), rows),
    )


@app.command
def exclude(address: str, /, *, why: str) -> None:
    """Put a reference aside: it goes into no new dataset, and stays in older ones.

    Args:
        address: Such as mara/ref/3f9a1c.
        why: The reason.
    """
    from assetforge.services.references import exclude_reference

    with opened_project() as project:
        reference = exclude_reference(project, address, why)
    emit("ref-exclude", {"reference": reference}, lambda: plain(f"{reference.address} is excluded."))


@app.command
def restore(address: str, /) -> None:
    """Take an excluded reference back.

    Args:
        address: Such as mara/ref/3f9a1c.
    """
    from assetforge.services.references import restore_reference

    with opened_project() as project:
        reference = restore_reference(project, address)
    emit("ref-restore", {"reference": reference}, lambda: plain(f"{reference.address} is active."))
