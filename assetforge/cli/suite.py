"""``assetforge suite``: what is rendered to judge a version."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from assetforge.api.job import Cell
from assetforge.cli.output import emit, facts, plain, say, table
from assetforge.cli.session import opened_project
from assetforge.config import load_settings
from assetforge.domain.suite import control_cells
from assetforge.errors import UsageError
from assetforge.services.assets import get_asset
from assetforge.services.companions import Company, find_company
from assetforge.services.own_prompts import change_own_prompts, own_prompts
from assetforge.services.project_config import RegressionConfig
from assetforge.services.suites import (
    SuiteInfo,
    add_suite,
    choose_suite,
    default_suite,
    get_suite,
    list_suites,
    second_look_fits,
    suite_cells,
)
from assetforge.services.versions import VersionInfo, list_versions

__all__ = ["app"]

app = App(name="suite", help="Regression suites: what is rendered to judge a version.", help_format="plaintext")


@app.command(name="list")
def list_(*, asset: str = "") -> None:
    """List the suites; the film's own first.

    Pictures, quick and reserve are those of one version; a first comparison renders two versions and the bare base.

    Args:
        asset: Only those that fit this asset, its default marked.
    """
    with opened_project() as project:
        suites = list_suites(project)
        rules = load_settings(project.config).regression
        default = ""
        if asset:
            info = get_asset(project, asset)
            versions = list_versions(project, asset)
            default = default_suite(project, info, *_made_for(versions)).name
            suites = [suite for suite in suites if info.type in suite.definition.asset_types or suite.name == default]
    rows = [
        (
            suite.name,
            "default" if suite.name == default else "",
            ", ".join(suite.definition.asset_types),
            suite.definition.family,
            suite.cells,
            suite.quick,
            suite.reserve if second_look_fits(rules, suite.cells, suite.reserve) else 0,
            suite.controls,
            2 * suite.cells + suite.controls,
            f"{suite.definition.width} x {suite.definition.height}",
            suite.source,
            suite.definition.title,
        )
        for suite in suites
    ]
    columns = ("suite", "", "for", "family", "pictures", "quick", "reserve", "base", "in all", "size", "from", "title")
    emit(
        "suite-list",
        {"suites": [{**_about(suite, rules), "default": suite.name == default} for suite in suites]},
        lambda: table(columns, rows, empty="No plugin brings a suite."),
    )


def _made_for(versions: Sequence[VersionInfo]) -> tuple[str, str]:
    """Model family and base model of the newest version."""
    return (versions[0].family, versions[0].base) if versions else ("", "")


@app.command
def show(name: str = "", *, asset: str = "") -> None:
    """Show a suite: its blocks, or with --asset every picture it asks for.

    Args:
        name: Name of the suite; with --asset it may be left out for the one the asset is rendered through.
        asset: Fill the prompts for this asset, add its own, and say who stands beside it.
    """
    if not name and not asset:
        raise UsageError("Name a suite, or an asset with --asset.", hint="`assetforge suite list` shows all.")
    company = Company()
    cells: tuple[Cell, ...] = ()
    more: tuple[Cell, ...] = ()
    with opened_project() as project:
        rules = load_settings(project.config).regression
        if asset:
            info = get_asset(project, asset)
            versions = [] if name else list_versions(project, asset)
            family, base = _made_for(versions)
            suite = choose_suite(project, info, family, name, base=base)
            company = find_company(project, suite.definition, info)
            cells = suite_cells(suite.definition, info, beside=company.worn)
            more = suite_cells(suite.definition, info, beside=company.worn, extension=True)
        else:
            suite = get_suite(project, name)
    about = _about(suite, rules) | (_counts(cells, more, rules) if asset else {})

    def text() -> None:
        facts(_facts(suite, about, company, rules))
        if asset:
            rows = [
                (cell.index, cell.block, cell.prompt, cell.seed, cell.strength, cell.beside.name if cell.beside else "")
                for cell in cells
            ]
            table(("cell", "block", "prompt", "seed", "strength", "beside"), rows)
        else:
            blocks = [
                (
                    block.name,
                    len(block.prompts),
                    block.quick,
                    len(block.reserve),
                    _list(block.seeds),
                    _list(block.strengths),
                    block.beside,
                    block.prompts[0],
                )
                for block in suite.definition.blocks
            ]
            columns = ("block", "prompts", "quick", "reserve", "seeds", "strengths", "beside", "first prompt")
            table(columns, blocks)

    document = {
        **about,
        "definition": suite.definition.model_dump(mode="json"),
        "beside": {block: [one.name for one in worn] for block, worn in company.worn.items()},
        "left_out": company.left_out,
    }
    emit("suite-show", {**document, "cells": [cell.model_dump(mode="json") for cell in cells]}, text)


@app.command
def add(file: Path) -> None:
    """Take in a suite from a TOML file, as it is now; add it again after changing it.

    Args:
        file: The TOML file.
    """
    with opened_project() as project:
        suite, changed = add_suite(project, file)
        rules = load_settings(project.config).regression
    emit(
        "suite-add",
        {**_about(suite, rules), "changed": changed},
        lambda: plain(
            f"Suite {suite.name}: {suite.cells} pictures a version, {suite.controls} of the bare base."
            if changed
            else f"Suite {suite.name} is unchanged."
        ),
    )


@app.command
def own(
    asset: str,
    *,
    add_: Annotated[tuple[str, ...], Parameter(name="--add", negative=())] = (),
    remove: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    list_: Annotated[bool, Parameter(name="--list", negative=())] = False,
) -> None:
    """The film's own shot prompts of an asset: a further block of whatever suite it is rendered through.

    Args:
        asset: Name of the asset.
        add_: A prompt; {trigger} and {class} are filled; may be repeated.
        remove: A prompt, or its number in the list; may be repeated.
        list_: Only list them, which is also done without any option.
    """
    if list_ and (add_ or remove):
        raise UsageError("--list changes nothing.", hint="Leave it out; the prompts are listed after every change.")
    with opened_project() as project:
        info = get_asset(project, asset)
        before = own_prompts(asset, info.settings)
        prompts = change_own_prompts(project, asset, add=add_, remove=remove) if add_ or remove else before
    for prompt in prompts:
        if prompt not in before and "{trigger}" not in prompt and info.trigger not in prompt:
            say(f"Without {{trigger}} nothing calls {asset}: {prompt}")
    emit(
        "suite-own",
        {"asset": asset, "prompts": prompts, "changed": prompts != before},
        lambda: table(
            ("", "prompt"),
            list(enumerate(prompts, start=1)),
            empty=f"{asset} has no own prompts; --add PROMPT adds one.",
        ),
    )


def _about(suite: SuiteInfo, rules: RegressionConfig) -> dict[str, Any]:
    return {
        "name": suite.name,
        "title": suite.definition.title,
        "source": suite.source,
        "family": suite.definition.family,
        "asset_types": suite.definition.asset_types,
        "pictures": suite.cells,
        "quick": suite.quick,
        "reserve": suite.reserve,
        "second_look": second_look_fits(rules, suite.cells, suite.reserve),
        "controls": suite.controls,
        "in_all": 2 * suite.cells + suite.controls,
        "max_renders": rules.max_renders,
        "digest": suite.digest,
    }


def _counts(cells: Sequence[Cell], more: Sequence[Cell], rules: RegressionConfig) -> dict[str, Any]:
    """The figures of :func:`_about` for one asset: with its own prompts, without the blocks that find nobody."""
    controls = len(control_cells(cells))
    return {
        "pictures": len(cells),
        "reserve": len(more),
        "second_look": second_look_fits(rules, len(cells), len(more)),
        "controls": controls,
        "in_all": 2 * len(cells) + controls,
    }


def _facts(suite: SuiteInfo, about: dict[str, Any], company: Company, rules: RegressionConfig) -> dict[str, Any]:
    definition = suite.definition
    return {
        "suite": suite.name,
        "title": definition.title,
        "from": suite.source,
        "family": definition.family,
        "for": ", ".join(definition.asset_types),
        "pictures": f"{about['pictures']} of each version, and {about['controls']} of the bare base: {about['in_all']} for a first comparison",
        "quick": f"{about['quick']} of each version" if about["quick"] else "none",
        "reserve": _reserve(about, rules),
        "size": f"{definition.width} x {definition.height}",
        "sampler": f"{definition.sampler}, {definition.steps} steps, cfg {definition.cfg:g}",
        "beside": "; ".join(f"{block}: {', '.join(one.name for one in worn)}" for block, worn in company.worn.items()),
        "left out": "; ".join(f"{block}: {why}" for block, why in company.left_out.items()),
        "digest": suite.digest,
    }


def _reserve(about: dict[str, Any], rules: RegressionConfig) -> str:
    """What an open verdict adds, and whether the film's budget lets it."""
    if not about["reserve"]:
        return "none"
    most = about["pictures"] + about["reserve"]
    if about["second_look"]:
        return f"{about['reserve']} more of each version when a verdict is left open: {most} of the {rules.max_renders} that [regression] max_renders allows"
    if not rules.extend:
        return f"{about['reserve']} more of each version, which [regression] extend = false leaves unused"
    return f"{about['reserve']} more of each version, which stay unused: {most} are more than the {rules.max_renders} that [regression] max_renders allows"


def _list(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)
