"""The process that does the work of a job: ``python -m assetforge.jobs.child WORKDIR``.

The only place where a plugin's heavy code runs. It writes ``result.json`` last and only on success; 0, 1 (failed) and 75 (stopped, or the disk was full; can be
resumed) are courtesies to people, never the truth.
"""

import hashlib
import os
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from assetforge.api.context import Stopped
from assetforge.api.job import EngineRef, JobSpec, OutputFile, RenderedCell, Result, TrainPayload, WeightsOutput
from assetforge.api.params import Params
from assetforge.api.protocols import Trainer
from assetforge.durable import says_full_disk
from assetforge.errors import AssetForgeError, JobError, PluginError
from assetforge.extension.registry import Registered, get_registry, load
from assetforge.jobs.context import JobRuntime, TrainRuntime, reported, sync_file, write_json

__all__ = ["Outcome", "check_version", "main", "make_engine", "validated"]

STOPPED = 75


@dataclass(kw_only=True)
class Outcome:
    """What an engine made, before its files are hashed; fields as in :class:`assetforge.api.job.Result`."""

    engine: dict[str, Any] = field(default_factory=dict)
    weights: tuple[WeightsOutput, ...] = ()
    cells: tuple[RenderedCell, ...] = ()
    scores: dict[str, dict[str, float | list[float]]] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)


def main(arguments: list[str] | None = None) -> int:
    """Run the job of a work folder.

    Args:
        arguments: The work folder; by default from the command line.
    """
    words = sys.argv[1:] if arguments is None else arguments
    workdir = Path(words[0]).resolve()
    # `python -m` looks for modules in the current folder first; a file of a bundle must never shadow a library.
    sys.path[:] = [entry for entry in sys.path if entry and Path(entry).resolve() != workdir]
    spec = JobSpec.model_validate_json((workdir / "job.json").read_bytes())
    attempt = int(os.environ.get("ASSETFORGE_ATTEMPT", "1"))
    write: Callable[..., None] = _say_nowhere
    start = time.perf_counter()
    try:
        write = JobRuntime(workdir, spec, attempt, Params()).events.write
        outcome = _WORK[spec.kind](workdir, spec, attempt)
        result = _result(workdir, spec, attempt, outcome, time.perf_counter() - start)
        write("finished", seconds=result.seconds)
        write_json(workdir / "result.json", result.model_dump(mode="json", by_alias=True))
    except Stopped:
        return STOPPED
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a plugin raises ends as an event that people can read
        return _fail(write, error)
    return 0


def _say_nowhere(_kind: str, **_fields: Any) -> None:
    """The events cannot be opened: standard error is all there is."""


def _fail(write: Callable[..., None], error: BaseException) -> int:
    text = traceback.format_exc()
    what = str(error) if isinstance(error, AssetForgeError) else f"{type(error).__name__}: {error}"
    full = says_full_disk(error)
    if full and not what.startswith("The disk is full"):
        # The machine was at fault, not the work.
        what = f"The disk is full ({what})."
    # On a full disk not even that may be possible; the exit code is left then.
    with suppress(OSError):
        sys.stderr.write(text)
    with suppress(OSError):
        write("interrupted" if full else "failed", error=what, traceback=text)
    return STOPPED if full else 1


def check_version(ref: EngineRef) -> None:
    """Refuse to run with other code than the job was made for.

    Raises:
        PluginError: The plugin is not installed here, or in another version.
    """
    try:
        here = version(ref.plugin)
    except PackageNotFoundError as error:
        raise PluginError(
            f"The {ref.kind} {ref.name!r} needs {ref.plugin} {ref.plugin_version}, which is not installed here.",
            hint=f"Install {ref.plugin} in the environment of the worker.",
        ) from error
    if here != ref.plugin_version:
        raise PluginError(
            f"The {ref.kind} {ref.name!r} was planned with {ref.plugin} {ref.plugin_version}, and {here} is installed.",
            hint="Queue the job again, so that its result is known to come from this version.",
        )


def validated(registered: Registered[Any], values: dict[str, Any]) -> Params:
    """Parameters as an instance of the spec's model."""
    params: Params = registered.spec.params.model_validate(values)
    return params


def make_engine(ref: EngineRef, **offered: Any) -> Any:
    """An instance of the code behind a spec.

    Args:
        ref: Which.
        offered: What its constructor may ask for by name, such as ``params`` and ``context``; most ask for nothing.

    Raises:
        PluginError: It cannot be imported.
    """
    import inspect

    factory = load(ref.load)
    asked = inspect.signature(factory).parameters
    return factory(**{name: value for name, value in offered.items() if name in asked})


def _engine(spec: JobSpec) -> EngineRef:
    if spec.engine is None:
        raise JobError(f"Job {spec.job} names no {spec.kind} engine.")
    check_version(spec.engine)
    return spec.engine


def _train(workdir: Path, spec: JobSpec, attempt: int) -> Outcome:
    ref = _engine(spec)
    TrainPayload.model_validate(spec.payload)
    params = validated(get_registry().trainer(ref.name), spec.params)
    context = TrainRuntime(workdir, spec, attempt, params)
    context.listen_for_signals()
    context.remove_uncommitted()
    checkpoint = context.latest_checkpoint()
    context.events.write("started", resumed_from=checkpoint.step if checkpoint else 0, device=context.device)
    trainer: Trainer = make_engine(ref)
    with reported(context):
        trained = trainer.train(context)
    if not any(weights.final for weights in trained.weights):
        raise PluginError(f"The trainer {ref.name!r} ended without final weights.", hint=f"{ref.plugin} is at fault.")
    return Outcome(
        engine=dict(trained.engine),
        weights=tuple(trained.weights),
        metrics={key: float(value) for key, value in trained.metrics.items()},
    )


def _render(workdir: Path, spec: JobSpec, attempt: int) -> Outcome:
    from assetforge.jobs.child_render import render_passes

    ref = _engine(spec)
    context = JobRuntime(workdir, spec, attempt, validated(get_registry().renderer(ref.name), spec.params))
    context.listen_for_signals()
    context.events.write("started", device=context.device)
    with reported(context):
        engine, cells = render_passes(context, make_engine(ref))
    return Outcome(engine=engine, cells=cells)


def _score(workdir: Path, spec: JobSpec, attempt: int) -> Outcome:
    from assetforge.jobs.child_score import score_images

    context = JobRuntime(workdir, spec, attempt, Params())
    context.listen_for_signals()
    context.events.write("started", device=context.device)
    with reported(context):
        return Outcome(scores=score_images(context))


_WORK: dict[str, Callable[[Path, JobSpec, int], Outcome]] = {"train": _train, "render": _render, "score": _score}


def _result(workdir: Path, spec: JobSpec, attempt: int, outcome: Outcome, seconds: float) -> Result:
    """Hash every output, after making it durable.

    Raises:
        JobError: An output that the job must make is missing.
    """
    for pattern in spec.outputs:
        if not any(workdir.glob(pattern)):
            raise JobError(f"Job {spec.job} ended without {pattern}.", hint="The plugin that ran is at fault.")
    outputs = []
    for path in sorted(path for path in (workdir / "outputs").rglob("*") if path.is_file()):
        sync_file(path)
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        outputs.append(OutputFile(path=path.relative_to(workdir).as_posix(), sha256=digest, size=path.stat().st_size))
    return Result(
        job=spec.job,
        attempt=attempt,
        outputs=tuple(outputs),
        engine=outcome.engine,
        weights=outcome.weights,
        cells=outcome.cells,
        scores=outcome.scores,
        metrics=outcome.metrics,
        seconds=round(seconds, 3),
    )


if __name__ == "__main__":
    sys.exit(main())
