"""Rendering inside a job: the base loaded once, LoRAs swapped, every picture kept as soon as it is there."""

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assetforge import agent
from assetforge.api.context import Stopped
from assetforge.api.job import Cell, LoraRef, RenderedCell, RenderPass, RenderPayload
from assetforge.api.protocols import Renderer
from assetforge.errors import PluginError
from assetforge.jobs.context import JobRuntime, write_json
from assetforge.jobs.png import write_png

__all__ = ["render_passes"]


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Cells that share one stack of LoRAs."""

    evaluation: int
    loras: tuple[tuple[LoraRef, float], ...]
    cells: tuple[Cell, ...]


class _Kept:
    """Pictures that are done, across attempts: the picture first, then its line in ``checkpoints/renders.jsonl``."""

    def __init__(self, context: JobRuntime) -> None:
        self._workdir = context.workdir
        self._log = context.workdir / "checkpoints" / "renders.jsonl"
        self._engine = context.workdir / "checkpoints" / "engine.json"
        self._log.parent.mkdir(exist_ok=True)
        self.cells: dict[tuple[int, int], RenderedCell] = {}
        for line in self._log.read_text("utf-8").splitlines() if self._log.is_file() else ():
            try:
                cell = RenderedCell.model_validate_json(line)
            except ValueError:
                # The half line of a killed attempt; its picture is made again.
                continue
            if (self._workdir / cell.file).is_file():
                self.cells[cell.evaluation, cell.index] = cell

    def use_engine(self, record: Mapping[str, Any]) -> None:
        """Keep earlier pictures only if the same engine made them: cells of one evaluation never come from two."""
        if agent.read_json(self._engine) != json.loads(json.dumps(dict(record))):
            self.cells.clear()
            self._log.unlink(missing_ok=True)
        write_json(self._engine, record)

    def engine(self) -> dict[str, Any]:
        """The record of the engine that made the pictures so far."""
        return agent.read_json(self._engine)

    def add(self, cell: RenderedCell) -> None:
        """Commit one picture."""
        self.cells[cell.evaluation, cell.index] = cell
        descriptor = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            # The newline comes first too, since a killed attempt may have left half a line.
            os.write(descriptor, b"\n" + cell.model_dump_json().encode() + b"\n")
        finally:
            os.close(descriptor)


def render_passes(context: JobRuntime, renderer: Renderer) -> tuple[dict[str, Any], tuple[RenderedCell, ...]]:
    """Render every cell of every pass that no earlier attempt rendered.

    Returns:
        The engine record, and all cells in the order of the plan.

    Raises:
        Stopped: Somebody asked to stop; the pictures so far are kept.
        PluginError: The renderer gave too few pictures, or something that is no picture.
    """
    payload = RenderPayload.model_validate(context.spec.payload)
    kept = _Kept(context)
    planned = [(one.evaluation, cell.index) for one in payload.passes for cell in one.cells]
    if not kept.engine() or any(key not in kept.cells for key in planned):
        record = dict(renderer.open(payload.base, payload.settings, context))
        try:
            kept.use_engine(record)
            for stretch in _stretches(payload.passes, kept):
                renderer.use(stretch.loras)
                _render_stretch(context, renderer, stretch, kept, len(planned))
        finally:
            renderer.close()
    context.progress(len(planned), len(planned))
    return kept.engine(), tuple(kept.cells[key] for key in planned)


def _stretches(passes: Sequence[RenderPass], kept: _Kept) -> Iterator[_Stretch]:
    """Missing cells, grouped so that LoRAs are swapped as seldom as possible; strength 0 wears the companions alone, or nothing at all."""
    for one in passes:
        missing = [cell for cell in one.cells if (one.evaluation, cell.index) not in kept.cells]
        strengths = dict.fromkeys(cell.strength if one.lora else 0.0 for cell in missing)
        for strength in strengths:
            cells = tuple(cell for cell in missing if (cell.strength if one.lora else 0.0) == strength)
            tested = ((one.lora, strength),) if one.lora and strength != 0 else ()
            yield _Stretch(one.evaluation, (*tested, *one.companions), cells)


def _render_stretch(context: JobRuntime, renderer: Renderer, stretch: _Stretch, kept: _Kept, total: int) -> None:
    if context.should_stop():
        raise Stopped
    pictures = iter(renderer.render(stretch.cells))
    for cell in stretch.cells:
        start = time.perf_counter()
        picture = next(pictures, None)
        if picture is None:
            raise PluginError(f"The renderer gave fewer pictures than the {len(stretch.cells)} it was asked for.")
        file = Path("outputs") / "renders" / str(stretch.evaluation) / f"{cell.index}.png"
        write_png(picture, context.workdir / file, _temporary(context.workdir / file), maker="renderer")
        seconds = round(time.perf_counter() - start, 4)
        kept.add(RenderedCell(evaluation=stretch.evaluation, index=cell.index, file=file.as_posix(), seconds=seconds))
        context.events.write(
            "sample", evaluation=stretch.evaluation, index=cell.index, file=file.as_posix(), prompt=cell.prompt
        )
        context.progress(len(kept.cells), total, it_s=1 / max(seconds, 1e-6))
        if context.should_stop():
            raise Stopped


def _temporary(path: Path) -> Path:
    """Where a picture is written before it is whole: outside the outputs, so that half of one is never hashed as an output."""
    return path.parents[3] / "checkpoints" / f".{path.parent.name}-{path.name}.part"
