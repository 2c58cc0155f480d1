"""``assetforge base``: which base models there are, by which names."""

from typing import Annotated

from cyclopts import App, Parameter

from assetforge.cli.hashing import hashing
from assetforge.cli.output import emit, facts, plain, table
from assetforge.services.base_models import BaseModel, find_base
from assetforge.services.base_registration import known_bases, register_base, unregister_base

__all__ = ["app"]

app = App(name="base", help="Base models: what LoRAs are trained on.", help_format="plaintext")


@app.command
def add(
    name: str,
    source: str,
    *,
    config: str = "",
    family: str = "",
    licence: str = "",
    resolution: int | None = None,
    replace: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Give a base model on this machine a name, for all your films. Its files stay where they are; nothing is fetched.

    Args:
        name: What it shall be called, as in: assetforge train mara --base NAME
        source: A diffusers folder, a single safetensors file, or a hub id in the local cache (org/name or org/name@revision).
        config: For a single file: the diffusers folder, or hub id, with its settings, tokenizers and the weights that the file lacks.
        family: Model family such as sdxl; by default found out.
        licence: Licence of the weights; by default what the model card says.
        resolution: Native resolution in pixels; by default found out.
        replace: The name may have meant other files before.
    """
    with hashing(name) as update:
        base = register_base(
            name,
            source,
            config=config,
            family=family,
            licence=licence,
            resolution=resolution,
            replaces=replace,
            progress=update,
        )
    emit("base-add", {"base": base}, lambda: _print(base))


@app.command(name="list")
def list_bases(*, family: str = "") -> None:
    """List the base models that you or a plugin gave a name.

    Args:
        family: Only those of this family.
    """
    bases = known_bases(family)

    def text() -> None:
        rows = [
            (
                base.name,
                base.family,
                base.resolution,
                base.licence,
                base.registered_by,
                "" if base.problem else "yes",
                base.source,
            )
            for base in bases
        ]
        columns = ("base", "family", "resolution", "licence", "registered by", "here", "source")
        table(columns, rows, empty="No base model has a name yet; `assetforge base add` gives it one.")
        for base in bases:
            if base.problem:
                plain(f"{base.name}: {base.problem}")

    emit("base-list", {"bases": bases}, text)


@app.command
def show(name: str) -> None:
    """Show what a base model is. Its files are hashed, unless that was done before.

    Args:
        name: Registered name, diffusers folder, registered single file, or hub id in the local cache.
    """
    with hashing(name) as update:
        base = find_base(name, progress=update)
    emit("base-show", {"base": base}, lambda: _print(base))


@app.command
def remove(name: str) -> None:
    """Forget the name of a base model. Its files stay, and so does what films recorded about it.

    Args:
        name: A name that you registered.
    """
    unregister_base(name)
    emit("base-remove", {"name": name}, lambda: plain(f"{name} is no base model's name any more; its files stay."))


def _print(base: BaseModel) -> None:
    facts(
        {
            "base": base.name,
            "family": base.family,
            "resolution": base.resolution,
            "licence": base.licence or "unknown; say it with `assetforge base add ... --licence`",
            "path": base.path,
            "config": base.config,
            "digest": base.digest,
        }
    )
