"""``assetforge render``."""

from typing import Annotated

from cyclopts import Parameter

from assetforge.cli.exit_codes import ExitCode
from assetforge.cli.output import emit, plain, say, table
from assetforge.cli.session import opened_project
from assetforge.cli.waiting import wait_with_progress
from assetforge.errors import JobError
from assetforge.services.recipes import parse_overrides
from assetforge.services.rendering import RenderRequest, request_render

__all__ = ["render"]


def render(
    version: str,
    *,
    suite: str = "",
    quick: Annotated[bool, Parameter(negative=())] = False,
    control: bool = True,
    base: str = "",
    renderer: str = "",
    set_: Annotated[tuple[str, ...], Parameter(name="--set", negative=())] = (),
    on: str = "",
    device: str = "auto",
    priority: int = 0,
    fresh: Annotated[bool, Parameter(negative=())] = False,
    wait: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Render a version through a suite, beside the bare base; what was rendered once is not rendered again.

    Args:
        version: Address, such as mara/v2 or mara@latest.
        suite: Suite; by default the asset's own, or the first that fits.
        quick: Only the quick size of the suite.
        control: Also render the bare base at the same prompts and seeds.
        base: Base model, for imported versions.
        renderer: Renderer; by default one of the plugin that trained.
        set_: Change a parameter of the renderer, such as --set precision=fp16; may be repeated.
        on: Executor to run on.
        device: auto, cpu, cuda or mps.
        priority: Higher goes first.
        fresh: Render anew even what was rendered already, such as after a driver changed.
        wait: Wait until it is done.
    """
    with opened_project() as project:

        def ask(anew: bool) -> RenderRequest:
            return request_render(
                project,
                version,
                suite=suite,
                quick=quick,
                with_control=control,
                base=base,
                renderer=renderer,
                params=parse_overrides(set_),
                executor=on,
                device=device,
                priority=priority,
                fresh=anew,
            )

        request = ask(fresh)
        states: dict[int, str] = {}
        if wait and request.jobs:
            states = {job: wait_with_progress(project, job, f"job {job}  rendering") for job in request.jobs}
            if set(states.values()) == {"succeeded"}:
                request = ask(anew=False)

        def text() -> None:
            rows = [(one.subject, one.cells, one.state, one.job) for one in request.evaluations]
            table(("rendered", "pictures", "state", "job"), rows)
            if not request.jobs:
                plain(f"Everything of {request.suite} is rendered.")
            for block, why in request.left_out.items():
                plain(f"The block {block} was left out. {why}")

        emit(
            "render",
            {
                "suite": request.suite,
                "evaluations": request.evaluations,
                "jobs": request.jobs,
                "reused": request.reused,
                "left_out": request.left_out,
            },
            text,
        )
        failed = {job: state for job, state in states.items() if state != "succeeded"}
        if failed:
            job, state = next(iter(failed.items()))
            raise JobError(
                f"Render job {job} ended as {state}.", hint=f"`assetforge jobs logs {job}` shows what it said."
            )
        if not wait and request.jobs:
            say("`assetforge work` runs the queue; --wait runs it and waits.")
    return ExitCode.OK
