"""Drift: whether pictures that were made once still come out the same, and what changed when they do not.

A version and the bare base are drawn again at cells that were drawn before. Files are compared by hash, engines field by field, pictures pixel by pixel. The bare base
tells the two apart that a picture alone cannot: when it still comes out the same, only what wears the LoRA can have changed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from assetforge.api.job import Cell
from assetforge.domain.states import DriftOutcome
from assetforge.domain.suite import control_index

__all__ = [
    "DriftEvidence",
    "DriftFinding",
    "FieldChange",
    "FileState",
    "PictureDifference",
    "engine_changes",
    "hardware_of",
    "judge_drift",
    "sentinel_cells",
    "tolerance",
]

_HARDWARE = ("device", "device_name", "driver", "cuda", "cudnn", "dtype", "threads", "batch")
"""Fields of an engine record that name what a record can know of hardware and drivers."""

_NAMED = 6
_SHORT = 12


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A fact about an engine that is not what it was; a side that does not state it is empty."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class FileState:
    """Hash that was recorded, and hash of what is there now; empty when nothing is."""

    recorded: str
    now: str

    @property
    def intact(self) -> bool:
        """It is what it was."""
        return self.now == self.recorded


@dataclass(frozen=True, slots=True)
class PictureDifference:
    """A picture against the earlier one of the same cell, in levels of 0 to 255.

    Attributes:
        index: Cell.
        largest: Largest difference of any channel of any pixel.
        mean: Mean absolute difference over all channels of all pixels.
        changed: Share of pixels that differ at all, 0 to 1.
    """

    index: int
    largest: int
    mean: float
    changed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftEvidence:
    """What is known when pictures were made again, or could not be.

    Attributes:
        version: Address of the version.
        base: Name of the base model.
        base_files: The base model's digest; ``None`` when its files lie on another machine.
        lora: Hash of the LoRA file.
        engine: What differs between the engine records.
        hardware: What the record says now about hardware and drivers.
        pictures: The version's pictures.
        controls: The bare base's.
        tolerance: Largest and mean difference that the engine allows itself, see :func:`tolerance`.
        error: Why there are no new pictures; empty when there are.
    """

    version: str
    base: str
    base_files: FileState | None
    lora: FileState
    engine: Sequence[FieldChange] = ()
    hardware: Mapping[str, str] = field(default_factory=dict)
    pictures: Sequence[PictureDifference] = ()
    controls: Sequence[PictureDifference] = ()
    tolerance: tuple[float, float] = (0.0, 0.0)
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftFinding:
    """What became of it.

    Attributes:
        outcome: The one word.
        statement: The same for people, with what was found.
        differing: Cells of the version whose pictures differ.
        controls_differing: Cells of the bare base whose pictures differ.
        largest: Largest difference of any picture; ``None`` without pictures.
        mean: Mean difference over the version's pictures; ``None`` without pictures.
        same_engine: The engine records agree, and so do the files: whatever differs is the engine's own noise. ``False`` without pictures.
    """

    outcome: DriftOutcome
    statement: str
    differing: tuple[int, ...] = ()
    controls_differing: tuple[int, ...] = ()
    largest: int | None = None
    mean: float | None = None
    same_engine: bool = False

    def as_json(self) -> dict[str, Any]:
        """For the record of the check."""
        return asdict(self)


def sentinel_cells(cells: Sequence[Cell], most: int, *, with_control: bool) -> tuple[Cell, ...]:
    """A few cells that stand for a plan: blocks take turns, and within a block prompts do.

    Strength 0 is the bare base and left out; so is what wears a companion, since another file would be checked with it.

    Args:
        cells: The cells of an evaluation.
        most: Pictures in all, at least 1; the bare base's count as well.
        with_control: Each cell also needs its base control.

    Returns:
        In plan order; at least one cell unless there is none with a strength.
    """
    controls = control_index(cells)
    blocks: dict[str, dict[str, list[Cell]]] = {}
    for cell in cells:
        if cell.strength != 0 and cell.beside is None:
            blocks.setdefault(cell.block, {}).setdefault(cell.prompt, []).append(cell)
    queues = [_in_turns(list(prompts.values())) for prompts in blocks.values()]
    chosen: list[Cell] = []
    for cell in _in_turns(queues):
        wanted = [*chosen, cell]
        cost = len(wanted) + (len({controls[one.index] for one in wanted}) if with_control else 0)
        if not chosen or cost <= most:
            chosen = wanted
    return tuple(sorted(chosen, key=lambda cell: cell.index))


def _in_turns(queues: Sequence[Sequence[Cell]]) -> list[Cell]:
    longest = max(map(len, queues), default=0)
    return [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)]


def engine_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[FieldChange, ...]:
    """Fields of two engine records that differ, by name such as ``ran.torch``."""
    first, second = _flat(before), _flat(after)
    return tuple(
        FieldChange(name, first.get(name, ""), second.get(name, ""))
        for name in sorted(first.keys() | second.keys())
        if first.get(name, "") != second.get(name, "")
    )


def hardware_of(record: Mapping[str, Any]) -> dict[str, str]:
    """What an engine record says about hardware and drivers."""
    return {name: value for name, value in _flat(record).items() if name.rpartition(".")[2] in _HARDWARE and value}


def tolerance(record: Mapping[str, Any]) -> tuple[float, float]:
    """Largest and mean difference between two renderings by an engine that puts pictures into batches: each may be off by what its record states."""
    stated = record.get("ran", {}).get("batch_tolerance", (0.0, 0.0))
    return 2.0 * float(stated[0]), 2.0 * float(stated[1])


def _flat(record: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    facts: dict[str, str] = {}
    for key, value in record.items():
        if isinstance(value, Mapping):
            facts |= _flat(value, f"{prefix}{key}.")
        else:
            facts[f"{prefix}{key}"] = str(value)
    return facts


def judge_drift(evidence: DriftEvidence) -> DriftFinding:
    """What the evidence says. A changed file explains everything else, so it comes first; then the engine; what is left has no explanation on record."""
    files = _files(evidence)
    if files is not None:
        return files
    if evidence.error:
        return DriftFinding(
            outcome="failed",
            statement=f"The pictures of {evidence.version} could not be made again: {evidence.error.rstrip('.')}.",
        )
    differing = _differing(evidence.pictures, evidence.tolerance)
    controls = _differing(evidence.controls, evidence.tolerance)
    every = (*evidence.pictures, *evidence.controls)
    outcome: DriftOutcome = "same"
    if differing or controls:
        outcome = "engine" if evidence.engine else "unexplained"
    return DriftFinding(
        outcome=outcome,
        statement=_statement(evidence, differing, controls),
        differing=differing,
        controls_differing=controls,
        largest=max((one.largest for one in every), default=None),
        mean=sum(one.mean for one in evidence.pictures) / len(evidence.pictures) if evidence.pictures else None,
        same_engine=not evidence.engine and bool(every),
    )


def _files(evidence: DriftEvidence) -> DriftFinding | None:
    base, lora = evidence.base_files, evidence.lora
    said = []
    if base is not None and not base.intact:
        said.append(
            f"The base model {evidence.base} changed: {_hashes(base)}. Nothing on it can be drawn as before until its old files are back."
            if base.now
            else f"The files of the base model {evidence.base} are not there any more."
        )
    if not lora.intact:
        said.append(
            f"The LoRA file of {evidence.version} is damaged: {_hashes(lora)}."
            if lora.now
            else f"The LoRA file of {evidence.version} is missing."
        )
    if not said:
        return None
    return DriftFinding(outcome="lora" if lora.now != lora.recorded else "base", statement=" ".join(said))


def _hashes(file: FileState) -> str:
    return f"what is there has the hash {file.now[:_SHORT]}, and it was {file.recorded[:_SHORT]}"


def _differing(pictures: Sequence[PictureDifference], allowed: tuple[float, float]) -> tuple[int, ...]:
    return tuple(one.index for one in pictures if one.largest > allowed[0] or one.mean > allowed[1])


def _statement(evidence: DriftEvidence, differing: Sequence[int], controls: Sequence[int]) -> str:
    every = (*evidence.pictures, *evidence.controls)
    count = len(differing) + len(controls)
    changes = ", ".join(
        f"{one.name} {one.before or '(nothing)'} -> {one.after or '(nothing)'}" for one in evidence.engine[:_NAMED]
    )
    more = f", and {len(evidence.engine) - _NAMED} more" if len(evidence.engine) > _NAMED else ""
    if not count:
        said = f"All {len(every)} pictures came out as before"
        if any(one.largest for one in every):
            said += ", up to what pictures in batches may differ on this engine"
        return f"{said}{f', although the engine changed: {changes}{more}' if changes else ''}."
    mean = sum(one.mean for one in every) / len(every)
    largest = max(one.largest for one in every)
    said = f"{count} of {len(every)} pictures differ, by {mean:.3g} of 255 levels on average and {largest} at most"
    if changes:
        reason = f"the engine changed: {changes}{more}."
    else:
        known = ", ".join(f"{name} {value}" for name, value in evidence.hardware.items()) or "nothing"
        reason = (
            "neither the engine record nor the files changed: look for a driver, the hardware, or what the record does not name "
            f"(on record: {known})."
        )
    return f"{said}; {reason}{_side(evidence, differing, controls)}"


def _side(evidence: DriftEvidence, differing: Sequence[int], controls: Sequence[int]) -> str:
    if not evidence.controls:
        return ""
    if not controls:
        return " The bare base comes out as before, so only what wears the LoRA changed."
    if not differing:
        return f" Only pictures of the bare base differ; those of {evidence.version} came out as before."
    return " The bare base's pictures differ as well, so it is not the LoRA."
