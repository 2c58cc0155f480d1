"""``assetforge asset``: characters, props and styles."""

from typing import Annotated

from cyclopts import App, Parameter

from assetforge.cli.output import emit, facts, plain, say, table
from assetforge.cli.session import opened_project
from assetforge.services.assets import AssetInfo, add_asset, get_asset, list_assets, set_asset
from assetforge.services.recipes import parse_overrides

__all__ = ["app"]

app = App(name="asset", help="Characters, props and styles.", help_format="plaintext")


@app.command
def add(
    name: str,
    *,
    type: str = "character",
    trigger: str = "",
    class_word: Annotated[str, Parameter(name=["--class", "--class-word"])] = "",
    description: str = "",
    recipe: str = "",
    suite: str = "",
) -> None:
    """Add an asset and make its inbox folder.

    Args:
        name: Short name: lowercase letters, digits, hyphens.
        type: Asset type: character, prop, style, or one of a plugin.
        trigger: Word that calls the LoRA; by default the name without hyphens.
        class_word: What it is, such as "woman"; by default the word of the type.
        description: For people.
        recipe: Recipe it is trained by; by default the first that fits.
        suite: Suite it is rendered through; by default the first that fits.
    """
    with opened_project() as project:
        asset = add_asset(
            project,
            name,
            type,
            trigger=trigger,
            class_word=class_word,
            description=description,
            recipe=recipe,
            suite=suite,
        )
    emit("asset-add", {"asset": asset}, lambda: plain(asset.name))
    say(
        f"Put references into {asset.references}, then: assetforge ref add {name} (or let `assetforge watch` take in what lands there)"
    )


@app.command(name="list")
def list_(*, type: str = "", archived: bool = False) -> None:
    """List the assets of the film.

    Args:
        type: Only of this type.
        archived: Also those that were put aside.
    """
    with opened_project() as project:
        assets = list_assets(project, type=type, archived=archived)
    rows = [(asset.name, asset.type, asset.trigger, asset.class_word, asset.description) for asset in assets]
    emit(
        "asset-list",
        {"assets": assets},
        lambda: table(
            ("asset", "type", "trigger", "class", "description"),
            rows,
            empty="No asset yet. Add one: assetforge asset add NAME",
        ),
    )


@app.command
def show(name: str) -> None:
    """Show an asset.

    Args:
        name: The asset.
    """
    from assetforge.services.summaries import summarise_asset

    with opened_project() as project:
        asset, summary = get_asset(project, name), summarise_asset(project, name)

    def text() -> None:
        _print(asset)
        lacks = [
            f"{count} without {what}"
            for count, what in ((summary.without_caption, "caption"), (summary.without_rights, "rights"))
            if count
        ]
        facts(
            {
                "references": ", ".join(
                    [f"{summary.active}, {summary.held_out} held out, {summary.excluded} excluded", *lacks]
                ),
                "dataset": summary.dataset,
                "versions": summary.versions or "",
                "latest": summary.latest,
                "approved": summary.approved,
                "changed": summary.changed_at,
            }
        )

    emit("asset-show", {"asset": asset, "summary": summary}, text)


@app.command(name="set")
def set_(
    name: str,
    *,
    trigger: str | None = None,
    class_word: Annotated[str | None, Parameter(name=["--class", "--class-word"])] = None,
    description: str | None = None,
    recipe: str | None = None,
    suite: str | None = None,
    settings: Annotated[tuple[str, ...], Parameter(name="--set")] = (),
    archived: bool | None = None,
) -> None:
    """Change an asset.

    Args:
        name: The asset.
        trigger: Word that calls the LoRA; dataset versions that are frozen keep the old one.
        class_word: What it is.
        description: For people.
        recipe: Recipe it is trained by; "" follows the film again.
        suite: Suite it is rendered through; "" follows the type again.
        settings: A further value as KEY=VALUE; KEY=null removes it.
        archived: Put it aside, or take it back with --no-archived.
    """
    with opened_project() as project:
        asset = set_asset(
            project,
            name,
            trigger=trigger,
            class_word=class_word,
            description=description,
            recipe=recipe,
            suite=suite,
            settings=parse_overrides(settings) if settings else None,
            archived=archived,
        )
    emit("asset-set", {"asset": asset}, lambda: _print(asset))


def _print(asset: AssetInfo) -> None:
    facts(
        {
            "asset": asset.name,
            "type": asset.type,
            "trigger": asset.trigger,
            "class": asset.class_word,
            "description": asset.description,
            "recipe": asset.recipe,
            "suite": asset.suite,
            "inbox": asset.references,
            "added": asset.created_at,
            "archived": asset.archived or "",
            **{f"setting {key}": value for key, value in asset.settings.items()},
        }
    )
