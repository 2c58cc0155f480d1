"""``assetforge caption``: what references show, in words."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from assetforge.cli.output import confirm, emit, facts, plain, say, table
from assetforge.cli.session import opened_project

if TYPE_CHECKING:
    from assetforge.domain.captions import CaptionChange
    from assetforge.services.caption_edits import BulkEdit, CaptionPair
    from assetforge.services.caption_undo import Undone

__all__ = ["app"]

app = App(name="caption", help="Captions: what references show, in words.", help_format="plaintext")

_SHOWN = 20

Flag = Annotated[bool, Parameter(negative=())]
Only = Annotated[tuple[str, ...], Parameter(negative=())]


@app.command(name="set")
def set_(address: str, text: str, /) -> None:
    """Write a caption by hand; nothing automatic replaces it from then on.

    Args:
        address: Such as mara/ref/3f9a1c.
        text: The caption, without the trigger word: training puts it in.
    """
    from assetforge.services.captions import set_caption

    with opened_project() as project:
        revision = set_caption(project, address, text)
    emit("caption-set", {"address": address, "caption": revision}, lambda: plain(f"{address}: {revision.text}"))


@app.command(name="list")
def list_(address: str, /, *, limit: int = 100, after: str = "") -> None:
    """List the captions of an asset, or every caption that one reference had.

    Args:
        address: Name of an asset, or a reference such as mara/ref/3f9a1c.
        limit: Most references to list.
        after: Hash after which to go on.
    """
    from assetforge.services.captions import caption_history
    from assetforge.services.references import list_references

    with opened_project() as project:
        if "/" in address:
            history = caption_history(project, address)
            rows = [(one.at, one.author, one.source, one.text) for one in history]
            emit(
                "caption-history",
                {"address": address, "captions": history},
                lambda: table(("at", "by", "from", "caption"), rows, empty="It never had a caption."),
            )
            return
        page = list_references(project, address, limit=limit, after=after)
    captions = [
        {"address": one.address, "file_name": one.file_name, "caption": one.caption, "source": one.caption_source}
        for one in page.items
    ]

    def text() -> None:
        table(
            ("reference", "file", "from", "caption"), [list(_in_order(one)) for one in captions], empty="No reference."
        )
        if page.next:
            say(f"{len(captions)} of {page.total}; go on with --after {page.next}")

    emit("caption-list", {"captions": captions, "total": page.total, "next": page.next}, text)


def _in_order(caption: dict[str, str]) -> tuple[str, str, str, str]:
    return caption["address"], caption["file_name"], caption["source"], caption["caption"]


@app.command
def replace(
    asset: str,
    find: str,
    replacement: str,
    /,
    *,
    words: Flag = False,
    regex: Flag = False,
    ignore_case: Annotated[bool, Parameter(name=["--ignore-case", "-i"], negative=())] = False,
    only: Only = (),
    dry_run: Flag = False,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative=())] = False,
) -> None:
    r"""Find something in an asset's captions and put something else there; `caption undo` takes it back as a whole.

    Args:
        asset: Name of the asset.
        find: What to look for.
        replacement: What takes its place; "" takes it out.
        words: Only whole words.
        regex: What to look for is a regular expression of Python; \1 in the replacement is its first group.
        ignore_case: Capital and small letters are the same.
        only: Only this reference, such as mara/ref/3f9a1c; may be repeated.
        dry_run: Show what would change, and change nothing.
        yes: Do not ask.
    """
    from assetforge.domain.captions import Replace
    from assetforge.errors import UsageError

    if words and regex:
        raise UsageError(
            "--words and --regex exclude each other.", hint="Write \\b around words in a regular expression."
        )
    mode: Literal["text", "words", "regex"] = "words" if words else "regex" if regex else "text"
    change = Replace(find=find, replacement=replacement, mode=mode, ignore_case=ignore_case)
    _edit("caption-replace", asset, change, only, dry_run=dry_run, yes=yes)


@app.command
def prefix(
    asset: str,
    text: str,
    /,
    *,
    at_end: Flag = False,
    only: Only = (),
    dry_run: Flag = False,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative=())] = False,
) -> None:
    """Put words before an asset's captions, or behind them; captions that have them there already stay.

    Args:
        asset: Name of the asset.
        text: Such as "film still,".
        at_end: Behind the captions.
        only: Only this reference; may be repeated.
        dry_run: Show what would change, and change nothing.
        yes: Do not ask.
    """
    from assetforge.domain.captions import AddPrefix, AddSuffix

    change = AddSuffix(text) if at_end else AddPrefix(text)
    _edit("caption-prefix", asset, change, only, dry_run=dry_run, yes=yes)


@app.command
def tag(
    asset: str,
    tag: str,
    /,
    *,
    remove: Flag = False,
    first: Flag = False,
    only: Only = (),
    dry_run: Flag = False,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative=())] = False,
) -> None:
    """Add one of the parts between commas to captions that lack it, or take it out.

    Args:
        asset: Name of the asset.
        tag: Such as "night".
        remove: Take it out.
        first: Add it in front.
        only: Only this reference; may be repeated.
        dry_run: Show what would change, and change nothing.
        yes: Do not ask.
    """
    from assetforge.domain.captions import AddTag, RemoveTag

    change = RemoveTag(tag) if remove else AddTag(tag, first)
    _edit("caption-tag", asset, change, only, dry_run=dry_run, yes=yes)


@app.command
def trigger(
    asset: str,
    /,
    *,
    remove: Flag = False,
    instead_of: str = "",
    only: Only = (),
    dry_run: Flag = False,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative=())] = False,
) -> None:
    """Show where the trigger word will stand when an asset is trained, or say where it shall stand.

    Captions are kept without the trigger. Training puts it in front, with the class word, unless a caption says it: then it stays where it stands. So captions that say it only
    because another tool wrote it there are better off without.

    Args:
        asset: Name of the asset.
        remove: Take it out of captions, so that training puts it in front.
        instead_of: Write trigger and class word in place of these words, such as "a woman", once per caption that has them.
        only: Only this reference; may be repeated.
        dry_run: Show what would change, and change nothing.
        yes: Do not ask.
    """
    from assetforge.domain.captions import PlaceTrigger, TakeTriggerOut
    from assetforge.errors import UsageError

    if remove and instead_of:
        raise UsageError("--remove and --instead-of exclude each other.")
    if remove or instead_of:
        change = TakeTriggerOut() if remove else PlaceTrigger(instead_of)
        _edit("caption-trigger", asset, change, only, dry_run=dry_run, yes=yes)
        return
    _tell_trigger(asset)


def _tell_trigger(asset: str) -> None:
    from assetforge.services.caption_words import caption_words

    with opened_project() as project:
        words = caption_words(project, asset)
    inside = sum(one.says_trigger for one in words.captions)
    trigger = words.counter.trigger

    def text() -> None:
        if not trigger:
            plain(f"{asset} has no trigger; captions are trained on as they are.")
            return
        plain(
            f"{trigger} stands in front of {len(words.captions) - inside} captions, and where the caption says it in {inside}."
        )
        table(("reference", "trained on"), [(one.address, one.trained) for one in words.captions[:_SHOWN]], empty="")

    document = {"trigger": trigger, "in_front": len(words.captions) - inside, "in_caption": inside}
    emit("caption-trigger", {**document, "captions": words.captions}, text)


@app.command
def tags(asset: str, /, *, limit: int = 100) -> None:
    """List the parts between commas that an asset's captions have, most frequent first.

    Args:
        asset: Name of the asset.
        limit: Most tags to list.
    """
    from assetforge.services.caption_words import caption_tags

    with opened_project() as project:
        found = caption_tags(project, asset)

    def text() -> None:
        table(("tag", "captions"), [(one.tag, one.count) for one in found[:limit]], empty="No caption yet.")
        if len(found) > limit:
            say(f"{limit} of {len(found)} tags; --limit shows more")

    emit("caption-tags", {"tags": found[:limit], "total": len(found)}, text)


@app.command
def tokens(asset: str, /, *, limit: int = 20) -> None:
    """List an asset's longest captions by the tokens that training reads, and say which are too long.

    Args:
        asset: Name of the asset.
        limit: Most captions to list.
    """
    from assetforge.services.caption_words import caption_words

    with opened_project() as project:
        words = caption_words(project, asset)
    counter, shown = words.counter, words.captions[:limit]
    long = sum(one.too_long for one in words.captions)

    def text() -> None:
        rows = [(one.address, one.tokens, "too long" if one.too_long else "", one.trained) for one in shown]
        table(("reference", "tokens", "", "trained on"), rows, empty="No reference.")
        say(counter.says)
        if long:
            say(f"{long} captions have more than {counter.limit} tokens; what lies beyond is cut off.")

    document = {"exact": counter.exact, "limit": counter.limit, "base": counter.base, "says": counter.says}
    emit("caption-tokens", {**document, "too_long": long, "missing": words.missing, "captions": shown}, text)


@app.command
def history(asset: str, /, *, limit: int = 50) -> None:
    """List the changes of an asset's captions that can be undone, newest first; `caption list REFERENCE` lists what one caption was.

    Args:
        asset: Name of the asset.
        limit: At most so many.
    """
    from assetforge.services.caption_undo import caption_changes

    with opened_project() as project:
        found = caption_changes(project, asset, limit=limit)
    rows = [(one.id, one.at, one.by, one.count, one.what, "undone" if one.undone else "") for one in found]
    columns = ("change", "at", "by", "captions", "what", "")
    emit("caption-changes", {"changes": found}, lambda: table(columns, rows, empty="No change yet."))


@app.command
def undo(
    asset: str,
    /,
    *,
    change: int | None = None,
    dry_run: Flag = False,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative=())] = False,
) -> None:
    """Take back a change of an asset's captions as a whole; captions that were changed since keep what they say.

    Args:
        asset: Name of the asset.
        change: Number of the change, from `caption history`; by default the newest that is not undone.
        dry_run: Show what would change, and change nothing.
        yes: Do not ask.
    """
    from assetforge.services.caption_undo import undo_captions

    with opened_project() as project:
        done = undo_captions(project, asset, change, dry_run=True)
        if not dry_run:
            confirm(f"Undo change {done.change.id} ({done.change.what}) in {len(done.pairs)} captions?", yes=yes)
            done = undo_captions(project, asset, done.change.id)
    emit("caption-undo", _undone(done, dry_run=dry_run), lambda: _tell_undone(done, "undone", dry_run=dry_run))


@app.command
def redo(asset: str, /, *, change: int | None = None, dry_run: Flag = False) -> None:
    """Make a change of an asset's captions again that was undone.

    Args:
        asset: Name of the asset.
        change: Number of the change, from `caption history`; by default the one that was undone last.
        dry_run: Show what would change, and change nothing.
    """
    from assetforge.services.caption_undo import redo_captions

    with opened_project() as project:
        done = redo_captions(project, asset, change, dry_run=dry_run)
    emit("caption-redo", _undone(done, dry_run=dry_run), lambda: _tell_undone(done, "redone", dry_run=dry_run))


def _edit(name: str, asset: str, change: "CaptionChange", only: Sequence[str], *, dry_run: bool, yes: bool) -> None:
    from assetforge.services.caption_edits import edit_captions

    with opened_project() as project:
        done = edit_captions(project, asset, change, addresses=only, dry_run=True)
        if not dry_run and done.pairs:
            confirm(f"Change {len(done.pairs)} of {done.looked_at} captions of {asset}: {done.what}?", yes=yes)
            done = edit_captions(project, asset, change, addresses=only)
    document = {"asset": done.asset, "what": done.what, "dry_run": dry_run, "looked_at": done.looked_at}
    emit(name, {**document, "change": done.change, "captions": done.pairs}, lambda: _tell_edit(done, dry_run=dry_run))


def _tell_edit(done: "BulkEdit", *, dry_run: bool) -> None:
    would = "would change" if dry_run else "changed"
    plain(f"{len(done.pairs)} of {done.looked_at} captions {would}: {done.what}.")
    _tell_pairs(done.pairs)
    if done.change is not None:
        say(f"`assetforge caption undo {done.asset}` takes it back.")


def _undone(done: "Undone", *, dry_run: bool) -> dict[str, object]:
    return {"change": done.change, "dry_run": dry_run, "captions": done.pairs, "kept": done.kept}


def _tell_undone(done: "Undone", what: str, *, dry_run: bool) -> None:
    would = "would be " if dry_run else ""
    plain(f"Change {done.change.id} ({done.change.what}) {would}{what}: {len(done.pairs)} captions.")
    _tell_pairs(done.pairs)
    if done.kept:
        say(f"{len(done.kept)} captions were changed since and keep what they say.")


def _tell_pairs(pairs: Sequence["CaptionPair"]) -> None:
    for one in pairs[:_SHOWN]:
        facts({one.address: one.file_name, "  -": one.before or "(none)", "  +": one.after or "(none)"})
    if len(pairs) > _SHOWN:
        say(f"... and {len(pairs) - _SHOWN} more")
