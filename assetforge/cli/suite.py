"""``assetforge suite``: what is rendered to judge a version."""

from pathlib import Path

from cyclopts import App

from assetforge.cli.output import emit, facts, plain, table
from assetforge.cli.session import opened_project
from assetforge.services.assets import get_asset
from assetforge.services.suites import SuiteInfo, add_suite, default_suite, get_suite, list_suites, suite_cells
from assetforge.services.versions import list_versions

__all__ = ["app"]

app = App(name="suite", help="Regression suites: what is rendered to judge a version.", help_format="plaintext")


@app.command(name="list")
def list_(*, asset: str = "") -> None:
    """List the suites; the film's own first.

    Args:
        asset: Only those that fit this asset, its default marked.
    """
    with opened_project() as project:
        suites = list_suites(project)
        default = ""
        if asset:
            info = get_asset(project, asset)
            versions = list_versions(project, asset)
            default = default_suite(project, info, versions[0].family if versions else "").name
            suites = [suite for suite in suites if info.type in suite.definition.asset_types or suite.name == default]
    rows = [
        (
            suite.name,
            "default" if suite.name == default else "",
            ", ".join(suite.definition.asset_types),
            suite.definition.family,
            suite.cells,
            suite.controls,
            f"{suite.definition.width} x {suite.definition.height}",
            suite.source,
            suite.definition.title,
        )
        for suite in suites
    ]
    columns = ("suite", "", "for", "family", "pictures", "controls", "size", "from", "title")
    emit(
        "suite-list",
        {"suites": [{**_about(suite), "default": suite.name == default} for suite in suites]},
        lambda: table(columns, rows, empty="No plugin brings a suite."),
    )


@app.command
def show(name: str, *, asset: str = "") -> None:
    """Show a suite: its blocks, or with --asset every picture it asks for.

    Args:
        name: Name of the suite.
        asset: Fill the prompts for this asset.
    """
    with opened_project() as project:
        suite = get_suite(project, name)
        cells = suite_cells(suite.definition, get_asset(project, asset)) if asset else ()
    definition = suite.definition

    def text() -> None:
        facts(
            {
                "suite": suite.name,
                "title": definition.title,
                "from": suite.source,
                "family": definition.family,
                "for": ", ".join(definition.asset_types),
                "pictures": f"{suite.cells}, and {suite.controls} of the bare base",
                "size": f"{definition.width} x {definition.height}",
                "sampler": f"{definition.sampler}, {definition.steps} steps, cfg {definition.cfg:g}",
                "digest": suite.digest,
            }
        )
        if asset:
            rows = [(cell.index, cell.block, cell.prompt, cell.seed, cell.strength) for cell in cells]
            table(("cell", "block", "prompt", "seed", "strength"), rows)
        else:
            blocks = [
                (block.name, len(block.prompts), _list(block.seeds), _list(block.strengths), block.prompts[0])
                for block in definition.blocks
            ]
            table(("block", "prompts", "seeds", "strengths", "first prompt"), blocks)

    document = {**_about(suite), "definition": definition.model_dump(mode="json")}
    emit("suite-show", {**document, "cells": [cell.model_dump(mode="json") for cell in cells]}, text)


@app.command
def add(file: Path) -> None:
    """Take in a suite from a TOML file, as it is now; add it again after changing it.

    Args:
        file: The TOML file.
    """
    with opened_project() as project:
        suite, changed = add_suite(project, file)
    emit(
        "suite-add",
        {**_about(suite), "changed": changed},
        lambda: plain(
            f"Suite {suite.name}: {suite.cells} pictures a version, {suite.controls} of the bare base."
            if changed
            else f"Suite {suite.name} is unchanged."
        ),
    )


def _about(suite: SuiteInfo) -> dict[str, object]:
    return {
        "name": suite.name,
        "title": suite.definition.title,
        "source": suite.source,
        "family": suite.definition.family,
        "asset_types": suite.definition.asset_types,
        "pictures": suite.cells,
        "controls": suite.controls,
        "digest": suite.digest,
    }


def _list(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)
