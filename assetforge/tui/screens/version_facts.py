"""Everything that a version was made of and everything that was done with it, put together from the services; read in a thread."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from assetforge.errors import AssetForgeError
from assetforge.tui.hints import in_words

if TYPE_CHECKING:
    from assetforge.domain.dataset_diff import DatasetDiff, DatasetLine
    from assetforge.services.datasets import DatasetInfo
    from assetforge.services.projects import Project
    from assetforge.services.releases import AliasEntry
    from assetforge.services.runs import RunInfo
    from assetforge.services.version_history import Judgement
    from assetforge.services.versions import VersionDetail, VersionInfo

__all__ = ["Changed", "MadeOf", "changed_params", "made_of"]


class Changed(NamedTuple):
    """A training parameter that differs from the version before.

    Attributes:
        name: Its name.
        before: Value then; ``None`` when it was not there.
        after: Value now; ``None`` when it is not there any more.
    """

    name: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeOf:
    """A version with its whole lineage.

    Attributes:
        version: The version.
        detail: What is in its file and its run; ``None`` when its file is missing.
        problem: Why the file cannot be read; empty when it can.
        run: The run that made it; ``None`` when it was imported.
        dataset: What it learned from; ``None`` when unknown.
        before: The dataset that the version before it learned from; ``None`` without one.
        difference: What changed between the two; ``None`` without a dataset.
        unchanged: All lines of the dataset, when nothing in it changed.
        changed: Parameters that differ from the version before it.
        same: How many do not.
        engine_changed: Facts about the engine that differ from the version before it.
        chain: The version before it, the one before that, and so on.
        judgements: Its comparisons, oldest first.
        decisions: Moves of aliases to it, and reviews of it, oldest first.
    """

    version: "VersionInfo"
    detail: "VersionDetail | None" = None
    problem: str = ""
    run: "RunInfo | None" = None
    dataset: "DatasetInfo | None" = None
    before: "DatasetInfo | None" = None
    difference: "DatasetDiff | None" = None
    unchanged: tuple["DatasetLine", ...] = ()
    changed: tuple[Changed, ...] = ()
    same: int = 0
    engine_changed: tuple[Changed, ...] = ()
    chain: tuple["VersionInfo", ...] = ()
    judgements: tuple["Judgement", ...] = ()
    decisions: tuple["AliasEntry", ...] = ()


def changed_params(after: Mapping[str, Any], before: Mapping[str, Any]) -> tuple[Changed, ...]:
    """What differs between two mappings, in the order of the newer one; what only the older one has comes last."""
    names = [*after, *(name for name in before if name not in after)]
    return tuple(
        Changed(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)
    )


def made_of(project: "Project", address: str, chain: Sequence[str]) -> MadeOf:
    """A version with its whole lineage.

    Args:
        project: The film.
        address: Which version.
        chain: Addresses of the version that it goes on from, of the one before that, and so on.

    Raises:
        UsageError: It is not an address.
        NotFoundError: It names nothing.
    """
    from assetforge.services.datasets import dataset_lines
    from assetforge.services.runs import get_run
    from assetforge.services.version_history import version_history
    from assetforge.services.versions import resolve_version, show_version

    version = resolve_version(project, address)
    past = {one.version.address: one for one in version_history(project, version.asset)}
    line = [past[one].version for one in chain if one in past]
    detail, problem = None, ""
    try:
        detail = show_version(project, version.address)
    except AssetForgeError as error:
        problem = in_words(error)
    run = get_run(project, version.run) if version.run is not None else None
    earlier = next((one.run for one in line if one.run is not None), None)
    run_before = get_run(project, earlier) if earlier is not None else None
    changed = changed_params(run.params, run_before.params) if run and run_before else ()
    dataset, before, difference = _datasets(project, version.dataset, run_before.dataset if run_before else "")
    unchanged = dataset_lines(project, version.dataset) if difference is not None and difference.empty else []
    return MadeOf(
        version=version,
        detail=detail,
        problem=problem,
        run=run,
        dataset=dataset,
        before=before,
        difference=difference,
        unchanged=tuple(unchanged),
        changed=changed,
        same=sum(value == run_before.params.get(name) for name, value in run.params.items())
        if run and run_before
        else 0,
        engine_changed=changed_params(run.engine, run_before.engine) if run and run_before else (),
        chain=tuple(line),
        judgements=past[version.address].judgements,
        decisions=past[version.address].decisions,
    )


def _datasets(
    project: "Project", newer: str, older: str
) -> "tuple[DatasetInfo | None, DatasetInfo | None, DatasetDiff | None]":
    """The dataset version, the one of the version before, and what differs; a first one is compared with nothing."""
    from assetforge.domain.dataset_diff import diff_datasets
    from assetforge.services.datasets import dataset_lines, diff, get_dataset

    if not newer:
        return None, None, None
    if not older:
        return get_dataset(project, newer), None, diff_datasets((), dataset_lines(project, newer))
    return diff(project, newer, older)
