"""``assetforge demo``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from assetforge.cli.output import emit, plain, progress, say
from assetforge.jobs.demo import DemoListener, DemoOutcome, run_demo

__all__ = ["demo"]


def demo(*, name: str = "", folder: Path | None = None, watch: Annotated[bool, Parameter(negative=())] = False) -> None:
    """Make a small film and take it through the whole loop: references, LoRAs, a second version, a comparison, an approval.

    Args:
        name: Which demo film; by default the first that a plugin brings.
        folder: Where the film goes; an existing demo film is continued.
        watch: Instead, drop pictures into a watched folder, twice, and see two versions come of it with nobody touching anything.
    """
    if watch:
        from assetforge.cli.watch_demo import watch_demo

        watch_demo(name=name, folder=folder)
        return
    with progress("demo") as update:
        outcome = run_demo(DemoListener(stage=say, step=update), name=name, folder=folder)
    emit("demo", {"projects": [outcome.project], **vars(outcome)}, lambda: _print(outcome))


def _print(outcome: DemoOutcome) -> None:
    plain(f"{outcome.project} is in {outcome.folder}")
    plain(f"  {len(outcome.assets)} assets, {', '.join(outcome.datasets)}")
    plain(f"  versions {', '.join(outcome.versions)}; approved {', '.join(outcome.approved)}")
    for summary in outcome.verdict_inputs.values():
        plain(f"  {summary['sentence']}")
    for path in outcome.published:
        plain(f"  published {path}")
    plain(
        f"  {sum(outcome.seconds.values()):.0f} s: "
        + ", ".join(f"{stage} {seconds:.0f}" for stage, seconds in outcome.seconds.items())
    )
    plain("Look at:")
    for path in outcome.reports:
        plain(f"  {path}")
    plain(f"Go on with: assetforge --project {outcome.folder} version list")
