"""``assetforge demo``."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from assetforge.cli.compare_text import print_outcome
from assetforge.cli.exit_codes import ExitCode
from assetforge.cli.global_options import current_options
from assetforge.cli.output import emit, facts, plain, progress, say
from assetforge.jobs.demo import DemoListener, DemoOutcome, run_demo

__all__ = ["demo"]


def demo(
    *,
    name: str = "",
    folder: Path | None = None,
    watch: Annotated[bool, Parameter(negative=())] = False,
    no_open: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Make a small film and take it through the loop: references, LoRAs, an approval, a second version and its verdict, over which you decide.

    Args:
        name: Which demo film; by default the first that a plugin brings.
        folder: Where the film goes; an existing demo film is continued.
        watch: Instead, drop pictures into a watched folder, twice, and see two versions come of it with nobody touching anything.
        no_open: Do not open the film in the terminal program at the end, which happens where there is a terminal.
    """
    if watch:
        from assetforge.cli.watch_demo import watch_demo

        watch_demo(name=name, folder=folder)
        return ExitCode.OK
    with progress("demo") as update:
        outcome = run_demo(DemoListener(stage=say, step=update), name=name, folder=folder)
    emit("demo", {"projects": [outcome.project], **vars(outcome)}, lambda: _print(outcome))
    if no_open or current_options().json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return ExitCode.OK
    # What was printed stands above the prompt again when the program is left.
    from assetforge.tui import run

    return run(Path(outcome.folder))


def _print(outcome: DemoOutcome) -> None:
    plain(f"{outcome.project} is in {outcome.folder}")
    plain(f"  {len(outcome.assets)} assets, {', '.join(outcome.datasets)}")
    plain(f"  versions {', '.join(outcome.versions)}; approved {', '.join(outcome.approved)}")
    for path in outcome.published:
        plain(f"  published {path}")
    plain(
        f"  {sum(outcome.seconds.values()):.0f} s: "
        + ", ".join(f"{stage} {seconds:.0f}" for stage, seconds in outcome.seconds.items())
    )
    judged, *others = outcome.reports
    plain("First versions beside the bare base, in the quick size:")
    for version, path in zip((one for one in outcome.verdict_inputs if one != outcome.judged), others, strict=True):
        plain(f"  {version}  {path}")
    plain("")
    verdict = outcome.verdict_inputs[outcome.judged]
    once = verdict.get("plan", {}).get("looks", 1) == 1
    print_outcome(verdict, note="one look: project.toml says [regression] extend = false" if once else "")
    plain("")
    plain(f"report   {judged}")
    asset, film = outcome.judged.partition("/")[0], f"assetforge --project {outcome.folder}"
    facts(
        {
            "figures": f"{film} compare {outcome.judged}",
            "look": f"{film} review {outcome.judged}",
            "decide": f"{film} approve {outcome.judged} --why ...   (or reject)",
            "deliver": f"{film} version publish {asset}@approved",
        }
    )
