"""Suites: what is rendered to judge a version, and the cells that follow from it for one asset.

Everything here is a pure function of its arguments: the same suite and asset give the same cells in the same order on every machine.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from assetforge.api.job import Cell, Companion, RenderSettings
from assetforge.api.specs import SuiteSpec
from assetforge.domain.canonical import digest
from assetforge.domain.names import parse_version
from assetforge.errors import UsageError

__all__ = [
    "BLEED_PREFIX",
    "CAST",
    "CORE_PREFIX",
    "OWN",
    "QUICK_SUFFIX",
    "BlockDefinition",
    "SuiteDefinition",
    "cast_types",
    "control_cells",
    "control_index",
    "expand",
    "plan_digest",
    "without_trigger",
]

BLEED_PREFIX = "bleed"
"""Blocks whose name starts so wear the LoRA without its trigger: they should look like the bare base."""

CORE_PREFIX = "core"
"""Blocks whose name starts so ask whether the asset looks right."""

CAST = "cast"
"""What is worn beside an asset: the other assets of the film."""

OWN = "own"
"""Block of an asset's own prompts."""

_OWN_SEEDS = (1041, 1042)
QUICK_SUFFIX = "-quick"
"""What the quick size of a suite has at the end of its name."""

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_PLACEHOLDERS = ("trigger", "class")
_OTHERS = ("other", "other_class")
_CAST = re.compile(rf"{CAST}(:[a-z0-9][a-z0-9-]*(,[a-z0-9][a-z0-9-]*)*)?\Z")
_NAME = r"^[a-z0-9][a-z0-9-]*$"


class BlockDefinition(BaseModel):
    """One block: every prompt with every seed at every strength; see :class:`assetforge.api.specs.SuiteBlock`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=_NAME)
    prompts: tuple[str, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field(min_length=1)
    strengths: tuple[float, ...] = Field(default=(1.0,), min_length=1)
    negative: str = ""
    quick: int = Field(default=0, ge=0)
    reserve: tuple[str, ...] = ()
    beside: str = ""
    beside_strength: float = 1.0

    @property
    def cell_count(self) -> int:
        """How many pictures one version needs."""
        return len(self.prompts) * len(self.seeds) * len(self.strengths)

    @field_validator("prompts", "reserve", "negative")
    @classmethod
    def _known_placeholders(cls, value: tuple[str, ...] | str) -> tuple[str, ...] | str:
        for prompt in (value,) if isinstance(value, str) else value:
            for name in _PLACEHOLDER.findall(prompt):
                if name not in (*_PLACEHOLDERS, *_OTHERS):
                    raise ValueError(
                        f"{{{name}}} in {prompt!r} is not a placeholder; {{trigger}}, {{class}}, {{other}} and {{other_class}} are"
                    )
        return value

    @field_validator("beside")
    @classmethod
    def _usable_companion(cls, value: str) -> str:
        if value and not _CAST.match(value):
            try:
                parse_version(value)
            except UsageError as error:
                raise ValueError(
                    f"{value!r} is not what can be worn beside an asset; a version such as ilse@approved is, and so are cast and cast:character,prop"
                ) from error
        return value

    @field_validator("beside_strength")
    @classmethod
    def _worn_strength(cls, value: float) -> float:
        if value == 0 or not -4.0 <= value <= 4.0:
            raise ValueError("what is worn beside an asset has a strength between -4 and 4 that is not 0")
        return value

    @field_validator("seeds")
    @classmethod
    def _usable_seeds(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(not 0 <= seed < 2**32 for seed in value):
            raise ValueError("seeds lie between 0 and 4294967295")
        return value

    @field_validator("strengths")
    @classmethod
    def _usable_strengths(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(not -4.0 <= strength <= 4.0 for strength in value):
            raise ValueError("strengths lie between -4 and 4")
        return value

    @model_validator(mode="after")
    def _no_doubles(self) -> "BlockDefinition":
        for what, values in (
            ("prompts", (*self.prompts, *self.reserve)),
            ("seeds", self.seeds),
            ("strengths", self.strengths),
        ):
            if len(set(values)) != len(values):
                raise ValueError(f"block {self.name!r} names one of its {what} twice")
        return self

    @model_validator(mode="after")
    def _others_are_there(self) -> "BlockDefinition":
        for prompt in (*self.prompts, *self.reserve, self.negative):
            found = next((name for name in _PLACEHOLDER.findall(prompt) if name in _OTHERS), "")
            if found and not self.beside:
                raise ValueError(f"{{{found}}} in {prompt!r} needs something that is worn beside the asset: say beside")
        return self


class SuiteDefinition(BaseModel):
    """A suite as it is stored and digested; the same fields as :class:`assetforge.api.specs.SuiteSpec`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=_NAME)
    title: str = ""
    summary: str = ""
    family: str = Field(min_length=1)
    asset_types: tuple[str, ...] = Field(min_length=1)
    blocks: tuple[BlockDefinition, ...] = Field(min_length=1)
    steps: int = Field(default=30, ge=1, le=1000)
    cfg: float = Field(default=7.0, ge=0.0, le=50.0)
    width: int = Field(default=512, ge=8, le=8192)
    height: int = Field(default=512, ge=8, le=8192)
    sampler: str = "ddim"

    @model_validator(mode="after")
    def _one_block_a_name(self) -> "SuiteDefinition":
        names = [block.name for block in self.blocks]
        if len(set(names)) != len(names):
            raise ValueError("two blocks have the same name")
        return self

    @classmethod
    def from_spec(cls, spec: SuiteSpec) -> "SuiteDefinition":
        """The definition of a plugin's suite.

        Raises:
            pydantic.ValidationError: The plugin's suite breaks a rule that users' suites keep as well.
        """
        return cls(
            name=spec.name,
            title=spec.title,
            summary=spec.summary,
            family=spec.family,
            asset_types=tuple(spec.asset_types),
            blocks=tuple(
                BlockDefinition(
                    name=block.name,
                    prompts=tuple(block.prompts),
                    seeds=tuple(block.seeds),
                    strengths=tuple(block.strengths),
                    negative=block.negative,
                    quick=block.quick,
                    reserve=tuple(block.reserve),
                    beside=block.beside,
                    beside_strength=block.beside_strength,
                )
                for block in spec.blocks
            ),
            steps=spec.steps,
            cfg=spec.cfg,
            width=spec.width,
            height=spec.height,
            sampler=spec.sampler,
        )

    @property
    def settings(self) -> RenderSettings:
        """What all cells share."""
        return RenderSettings(
            steps=self.steps, cfg=self.cfg, width=self.width, height=self.height, sampler=self.sampler
        )

    @property
    def digest(self) -> str:
        """Digest over what changes pictures or their grouping; a new title or asset type keeps it, and so does what is only rendered on another occasion."""
        about = self.model_dump(mode="json", exclude={"name", "title", "summary", "asset_types"})
        for block in about["blocks"]:
            del block["quick"]
            # Suites that were stored before there was a reserve keep their digest.
            if not block["reserve"]:
                del block["reserve"]
            # As do those from before there were companions.
            if not block["beside"]:
                del block["beside"], block["beside_strength"]
        return digest(about)

    @property
    def cell_count(self) -> int:
        """How many pictures one version needs."""
        return sum(block.cell_count for block in self.blocks)

    @property
    def reserve_count(self) -> int:
        """How many pictures more a version needs when the verdict is inconclusive."""
        return sum(len(block.reserve) * len(block.seeds) * len(block.strengths) for block in self.blocks)

    def without(self, names: Collection[str]) -> "SuiteDefinition":
        """The suite without some of its blocks, be it without any."""
        return self.model_copy(update={"blocks": tuple(block for block in self.blocks if block.name not in names)})

    def with_own(self, prompts: Sequence[str]) -> "SuiteDefinition":
        """The suite with an asset's own prompts as one more block, which its quick size does without; the suite itself when there are none.

        The block is called ``own``, or ``own-2`` and so on in a suite that has one of that name; its negative prompt is that of the first block whose asset is worn alone.

        Raises:
            pydantic.ValidationError: A prompt has an unknown placeholder, or stands there twice.
        """
        if not prompts:
            return self
        taken = {block.name for block in self.blocks}
        name = next(one for one in (OWN, *(f"{OWN}-{n}" for n in range(2, len(taken) + 3))) if one not in taken)
        negative = next((block.negative for block in self.blocks if not block.beside), "")
        own = BlockDefinition(name=name, prompts=tuple(prompts), seeds=_OWN_SEEDS, negative=negative)
        return self.model_copy(update={"blocks": (*self.blocks, own)})

    def quick(self) -> "SuiteDefinition":
        """The quick size: the first prompts of the blocks that belong to it, and no reserve.

        Raises:
            ValueError: No block belongs to it.
        """
        blocks = tuple(
            block.model_copy(update={"prompts": block.prompts[: block.quick], "reserve": ()})
            for block in self.blocks
            if block.quick
        )
        if not blocks:
            raise ValueError(f"no block of the suite {self.name} says how much of it is the quick size")
        return self.model_copy(update={"name": f"{self.name}{QUICK_SUFFIX}", "blocks": blocks})


def expand(
    suite: SuiteDefinition,
    *,
    trigger: str,
    class_word: str,
    beside: Mapping[str, Sequence[Companion]] | None = None,
    extension: bool = False,
) -> tuple[Cell, ...]:
    """The cells of a suite for one asset, in the order block, prompt, seed, strength.

    Args:
        suite: The suite.
        trigger: Trigger word of the asset.
        class_word: Class word of the asset.
        beside: By block that wants one, what is worn beside the asset, in turns over the prompts; blocks that are missing here are left out.
        extension: The cells of the reserve instead; they are counted on from the others.

    Returns:
        The cells; ``index`` counts from 0.
    """
    cells: list[Cell] = []
    first = suite.cell_count if extension else 0
    for block in suite.blocks:
        others = (beside or {}).get(block.name, ()) if block.beside else (None,)
        if not others:
            continue
        turn = len(block.prompts) if extension else 0
        for number, template in enumerate(block.reserve if extension else block.prompts):
            other = others[(turn + number) % len(others)]
            prompt = _fill(template, trigger, class_word, other)
            negative = _fill(block.negative, trigger, class_word, other)
            for seed in block.seeds:
                for strength in block.strengths:
                    cells.append(
                        Cell(
                            index=first + len(cells),
                            block=block.name,
                            prompt=prompt,
                            negative=negative,
                            seed=seed,
                            strength=strength,
                            beside=other,
                        )
                    )
    return tuple(cells)


def cast_types(beside: str) -> tuple[str, ...] | None:
    """The asset types that ``cast:character,prop`` names, none for ``cast``; ``None`` for a version's address."""
    if not _CAST.match(beside):
        return None
    return tuple(name for name in beside.partition(":")[2].split(",") if name)


def _fill(template: str, trigger: str, class_word: str, other: Companion | None) -> str:
    values = {"trigger": trigger, "class": class_word}
    if other is not None:
        values |= {"other": other.trigger, "other_class": other.class_word}
    filled = _PLACEHOLDER.sub(lambda match: values.get(match.group(1), match.group(0)), template)
    return filled if all(values.values()) else " ".join(filled.split())


def without_trigger(prompt: str, trigger: str) -> str:
    """What a prompt says to somebody who does not know the trigger word, such as "in the snow" for "mrvale in the snow"."""
    if not trigger:
        return prompt
    parts = [" ".join(part.replace(trigger, " ").split()) for part in prompt.split(",")]
    return ", ".join(part for part in parts if part)


def control_cells(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The same pictures without the version under test: strength 0, one for each (prompt, negative, seed, companion), under the index of the first cell that has it.

    That is the bare base, and where something is worn beside the version, that alone: what a pair is compared with differs from it in the version and in nothing else.
    """
    wanted = set(control_index(cells).values())
    return tuple(cell.model_copy(update={"strength": 0.0}) for cell in cells if cell.index in wanted)


def control_index(cells: Sequence[Cell]) -> dict[int, int]:
    """For each cell's index, the index of its base control."""
    first: dict[tuple[str, str, int, Companion | None], int] = {}
    return {
        cell.index: first.setdefault((cell.prompt, cell.negative, cell.seed, cell.beside), cell.index) for cell in cells
    }


def plan_digest(
    *,
    weights: str,
    suite_digest: str,
    cells: Sequence[Cell],
    base_digest: str,
    engine: Mapping[str, Any],
    params: Mapping[str, Any],
    executor: str,
    device: str,
) -> str:
    """Identity of an evaluation: same digest, same pictures, so it is rendered once.

    Args:
        weights: Hash of the LoRA file; empty for the base control.
        suite_digest: :attr:`SuiteDefinition.digest`.
        cells: The expanded cells.
        base_digest: Digest of the base model's files.
        engine: The renderer: name, version, plugin, plugin version.
        params: Its validated parameters in JSON mode.
        executor: Name of the executor.
        device: Device class that was asked for, such as ``cpu`` or ``auto``.
    """
    return digest(
        {
            "schema": "assetforge/plan/1",
            "weights": weights,
            "suite": suite_digest,
            "cells": [cell.model_dump(mode="json") for cell in cells],
            "base": base_digest,
            "engine": dict(engine),
            "params": dict(params),
            "where": [executor, device],
        }
    )
