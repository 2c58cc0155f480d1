"""``assetforge version``: LoRA versions, where they came from and where they went."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from assetforge.cli.alias import print_named
from assetforge.cli.evidence import evidence_words
from assetforge.cli.output import emit, facts, plain, say, table
from assetforge.cli.session import opened_project
from assetforge.services.releases import AliasEntry
from assetforge.services.releases import publish as publish_version
from assetforge.services.version_history import Judgement, VersionPast, aliases_at, read_moment, version_history
from assetforge.services.versions import VersionDetail, import_version, list_versions, show_version

__all__ = ["app"]

app = App(name="version", help="LoRA versions: where they came from and where they went.", help_format="plaintext")

_COLUMNS = ("version", "stage", "aliases", "dataset", "recipe", "run", "family", "made", "origin", "note")


@app.command(name="list")
def list_(asset: str = "") -> None:
    """List versions, newest first.

    Args:
        asset: Only of this asset.
    """
    with opened_project() as project:
        versions = list_versions(project, asset)
    rows = [
        (
            version.address,
            version.stage,
            ", ".join(version.aliases),
            version.dataset,
            version.recipe,
            version.run,
            version.family,
            version.created_at,
            version.origin,
            version.note,
        )
        for version in versions
    ]
    emit("version-list", {"versions": versions}, lambda: table(_COLUMNS, rows, empty="No version yet."))


@app.command
def show(version: str) -> None:
    """Show a version with everything it came from and everything done with it.

    Args:
        version: Address, such as mara/v2, mara@approved or mara@latest.
    """
    with opened_project() as project:
        detail = show_version(project, version)
    emit("version-show", {"version": detail}, lambda: _print(detail))


def _print(detail: VersionDetail) -> None:
    info = detail.version
    facts(
        {
            "version": info.address,
            "stage": info.stage,
            "aliases": ", ".join(info.aliases),
            "parent": detail.parent,
            "dataset": info.dataset,
            "dataset tree": detail.dataset_tree,
            "run": info.run,
            "recipe": info.recipe,
            "recipe key": detail.recipe_key,
            "trainer": detail.trainer,
            "base": f"{detail.base} {detail.base_digest[:12]}".strip(),
            "seed": detail.seed,
            "family": info.family,
            "step": info.step,
            "made": info.created_at,
            "origin": info.origin,
            "note": info.note,
            "weights": info.weights,
            "tensors": f"{detail.tensors} in {detail.size:,} bytes, tensor hash {info.tensor_hash[:12]}",
        }
    )
    if detail.params:
        plain("")
        table(("parameter", "value"), [(name, str(value)) for name, value in detail.params.items()])
    if detail.evaluations:
        plain("")
        rows = [(one.suite, one.state, one.cells, one.renderer, one.created_at) for one in detail.evaluations]
        table(("rendered through", "state", "pictures", "by", "asked for"), rows)
    if detail.publications:
        plain("")
        table(("published as", "by", "at"), [(one.path, one.actor, one.at) for one in detail.publications])


@app.command
def history(asset: str, *, at: str = "") -> None:
    """Show every version of an asset with what it came from, its verdicts, and who decided what, when and why; newest first.

    Args:
        asset: Which asset.
        at: Show what was approved then instead: a date, such as 2026-03-14, which means the end of that day here, or a time, such as 2026-03-14T12:00+01:00.
    """
    if at:
        moment = read_moment(at)
        with opened_project() as project:
            named = aliases_at(project, asset, moment)
        approved = named.pop("approved", None)

        def show_named() -> None:
            print_named(f"{asset}@approved", at, approved)
            for name, entry in named.items():
                plain(f"{asset}@{name} was {entry.version}.")

        emit("version-history-at", {"asset": asset, "at": moment, "approved": approved, "aliases": named}, show_named)
        return
    with opened_project() as project:
        past = version_history(project, asset)
    emit("version-history", {"asset": asset, "versions": past}, lambda: _print_history(past))


def _print_history(past: list[VersionPast]) -> None:
    if not past:
        say("No version yet.")
    for one in past:
        info = one.version
        made = f"run {info.run} on {info.dataset}" if info.run is not None else f"imported from {info.origin}"
        names = f" ({', '.join(info.aliases)})" if info.aliases else ""
        plain(f"{info.address}  {info.stage}{names}  {_day(info.created_at)}  {made}")
        lines = [(judged.at, _judged(judged)) for judged in one.judgements]
        lines += [(entry.at, _decided(entry)) for entry in one.decisions]
        for at, text in sorted(lines, key=lambda line: line[0]):
            plain(f"  {_day(at)}  {text}")


def _day(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M}"


def _judged(one: Judgement) -> str:
    what = one.outcome or one.state
    return f"comparison {one.comparison} against {one.baseline or 'the bare base'} through {one.suite}: {what}. {one.sentence}".rstrip()


def _decided(entry: AliasEntry) -> str:
    what = entry.name if entry.name in ("approved", "rejected") else f"named {entry.asset}@{entry.name}"
    why = f": {entry.why}" if entry.why else ""
    words = evidence_words(entry.evidence)
    return f"{what} by {entry.actor}{why}" + (f" [{words}]" if words else "")


@app.command
def publish(version: str) -> None:
    """Copy a version to loras/ under a readable name; a file that is there is never overwritten.

    Args:
        version: Address, such as mara@approved.
    """
    with opened_project() as project:
        published = publish_version(project, version)
    emit(
        "version-publish",
        {
            "version": published.version,
            "path": published.path,
            "sha256": published.sha256,
            "written": published.written,
        },
        lambda: plain(
            f"{published.version} is {published.path}" + ("" if published.written else " (it was there already)")
        ),
    )


@app.command(name="import")
def import_(
    asset: str,
    file: Path,
    *,
    family: str = "",
    note: Annotated[str, Parameter(name=["--note", "-m"])] = "",
) -> None:
    """Take in a LoRA that was trained elsewhere as the next version of an asset; safetensors only.

    Args:
        asset: Which asset it belongs to.
        file: The safetensors file.
        family: Model family, such as sd15; by default what the file says.
        note: What to remember about it.
    """
    with opened_project() as project:
        version, new = import_version(project, asset, file, family=family, note=note)
    emit(
        "version-import",
        {"version": version, "new": new},
        lambda: plain(
            f"{version.address} ({version.family}) from {file.name}"
            if new
            else f"{version.address} has the same tensors already; nothing was taken in."
        ),
    )
