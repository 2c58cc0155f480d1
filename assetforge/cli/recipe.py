"""``assetforge recipe``: what the presets are and what they set."""

from cyclopts import App

from assetforge.cli.output import emit, facts, table
from assetforge.extension.registry import get_registry
from assetforge.services.recipes import recipes_for

__all__ = ["app"]

app = App(name="recipe", help="Training presets.", help_format="plaintext")


@app.command(name="list")
def list_recipes(*, type: str = "") -> None:
    """List the recipes.

    Args:
        type: Only those for this type of asset.
    """
    entries = recipes_for(type)
    rows = [
        (
            entry.spec.name,
            ", ".join(entry.spec.asset_types),
            entry.spec.family,
            entry.spec.base,
            entry.spec.trainer,
            entry.spec.title,
        )
        for entry in entries
    ]
    keys = ("name", "asset_types", "family", "base", "trainer", "title")
    emit(
        "recipe-list",
        {"recipes": [dict(zip(keys, row, strict=True)) for row in rows]},
        lambda: table(
            ("recipe", "for", "family", "base", "trainer", "title"), rows, empty="No plugin brings a recipe."
        ),
    )


@app.command
def show(name: str) -> None:
    """Show a recipe with every parameter of its trainer.

    Args:
        name: Name of the recipe.
    """
    entry = get_registry().recipe(name)
    spec = entry.spec
    trainer = get_registry().trainer(spec.trainer)
    params = trainer.spec.params.model_validate(dict(spec.params)).model_dump(mode="json")
    about = {
        "name": spec.name,
        "title": spec.title,
        "summary": spec.summary,
        "family": spec.family,
        "base": spec.base,
        "trainer": spec.trainer,
        "plugin": entry.plugin,
    }

    def text() -> None:
        facts(about)
        fields = trainer.spec.params.model_fields
        table(
            ("parameter", "value", "set here", "what it is"),
            [(key, str(value), key in spec.params, fields[key].description or "") for key, value in params.items()],
        )

    emit("recipe-show", {**about, "params": params}, text)
