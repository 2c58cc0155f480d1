"""``assetforge caption``: what references show, in words."""

from cyclopts import App

from assetforge.cli.output import emit, plain, say, table
from assetforge.cli.session import opened_project

__all__ = ["app"]

app = App(name="caption", help="Captions: what references show, in words.", help_format="plaintext")


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
