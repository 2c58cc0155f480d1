"""Suites of the big film, and summaries and scores of comparisons as the real code makes them of invented scores.

A few comparisons per suite and outcome are computed; the film's thousands are these with other names in them, so that every summary has the shape and the size of a real one.
"""

import gzip
import json
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from assetforge.api.job import Cell
from assetforge.domain.canonical import canonical_json
from assetforge.domain.evidence import seed_pairs
from assetforge.domain.regression import PAIRS, image_key
from assetforge.domain.suite import BlockDefinition, SuiteDefinition, control_cells, control_index, expand
from assetforge.services.comparison_plan import metric_plan
from assetforge.services.comparison_records import ComparisonInfo
from assetforge.services.comparison_summary import Gathered, score_rows, summarise

__all__ = ["BASE", "NEW", "OUTCOMES", "Template", "film_suites", "make_templates", "settle"]

NEW, BASE, TRIGGER, CLASS = "zznew/v1", "zzbase/v1", "zztriggerzz", "zzclasszz"
"""What stands in a template where a comparison has its own names."""

OUTCOMES = ("pass", "regressed", "inconclusive")
PRIMARY = "clip-image"
_GAINS = {"pass": (0.05, 0.03), "regressed": (-0.09, -0.07), "inconclusive": (-0.017, -0.024), "first": (0.0, 0.0)}
_REFERENCES, _OTHERS, _DIMENSIONS = 6, 12, 6
_PLACES = ("on the quay at night", "in heavy rain", "in the kitchen", "below deck", "in the lamp room", "in a crowd")
_VIEWS = ("close up", "in profile", "full figure", "from behind")


def film_suites() -> dict[str, SuiteDefinition]:
    """A suite of 100 cells for each asset type."""
    return {kind: _suite(kind, "sd15" if kind == "style" else "sdxl") for kind in ("character", "prop", "style")}


def _suite(kind: str, family: str) -> SuiteDefinition:
    prompts = [f"{{trigger}} {{class}} {view} {place}" for place in _PLACES for view in _VIEWS]
    shots = [
        f"film still, sq{number:03d}: {{trigger}} waits {place}, 35mm" for number, place in enumerate(_PLACES * 2, 10)
    ]
    blocks = (
        BlockDefinition(name="core", prompts=tuple(prompts[:12]), seeds=(1021, 1022)),
        BlockDefinition(
            name="core-out", prompts=tuple(f"{one}, oil painting" for one in prompts[12:]), seeds=(1031, 1032)
        ),
        BlockDefinition(name="strength", prompts=tuple(prompts[:4]), seeds=(1021,), strengths=(0.0, 0.4, 0.7, 1.2)),
        BlockDefinition(name="bleed", prompts=tuple(f"{{class}} {one}" for one in _PLACES), seeds=(1041, 1042)),
        BlockDefinition(name="shots", prompts=tuple(shots), seeds=(1051, 1052)),
    )
    return SuiteDefinition(
        name=f"{kind}-film",
        title=f"{kind} of the film",
        family=family,
        asset_types=(kind,),
        blocks=blocks,
        width=384,
        height=384,
    )


@dataclass(frozen=True, slots=True)
class Template:
    """A comparison with placeholders for names.

    Attributes:
        outcome: Of the verdict; ``first`` has no baseline and no verdict.
        sentence: Its sentence.
        headline: Of the verdict.
        evidence: The deciding metric's figures, as an approval keeps them.
        guards: Outcome by guard rail.
        not_measured: What could not be measured.
        summary: JSON text without its last brace, for the plan to be added.
        scores: JSON text of the file of scores.
        metrics: JSON text of the plan's metrics.
    """

    outcome: str
    sentence: str
    headline: str
    evidence: dict[str, Any]
    guards: dict[str, str]
    not_measured: list[str]
    summary: str
    scores: str
    metrics: str
    words: dict[str, str] = field(default_factory=dict)

    def fill(self, text: str, *, new: str, baseline: str, trigger: str, class_word: str) -> str:
        """A text of the template with a comparison's own names."""
        text = text.replace(NEW, new).replace(TRIGGER, trigger).replace(CLASS, class_word)
        return text.replace(BASE, baseline) if baseline else text


def settle(scores: str, level: int = 1) -> bytes:
    """A file of scores, as the store keeps it."""
    return gzip.compress(scores.encode(), compresslevel=level, mtime=0)


def make_templates(suite: SuiteDefinition, asset_type: str, seed: int) -> dict[str, list[Template]]:
    """Two templates per outcome, and two of first versions."""
    cells = expand(suite, trigger=TRIGGER, class_word=CLASS)
    metrics = _metrics(asset_type)
    return {
        outcome: [_found(suite, cells, metrics, outcome, gain, f"{seed} {number}") for number, gain in enumerate(gains)]
        for outcome, gains in _GAINS.items()
    }


def _found(
    suite: SuiteDefinition, cells: Sequence[Cell], metrics: list[dict[str, Any]], outcome: str, gain: float, seed: str
) -> Template:
    """The first of some draws whose verdict is the wanted one; chance alone decides against a few."""
    for draw in range(40):
        template = _template(
            suite, cells, metrics, outcome, gain, random.Random(f"{suite.name} {outcome} {seed} {draw}")
        )
        if template.outcome == outcome:
            return template
    raise AssertionError(f"no scores of {suite.name} gave {outcome}; the last ones: {template.headline}")


def _metrics(asset_type: str) -> list[dict[str, Any]]:
    """The metrics of the core, and two that a plugin with learned ones has; by hand, so that the film is the same without it."""
    names = ("black-share", "clipped-share", "contrast", "sharpness", "lab-difference", "ssim", "lab-statistics")
    own = metric_plan(asset_type, names)
    learned = [
        (PRIMARY, "Identity", "embedding", 0.02, "assetforge_vision.clip:ClipImage"),
        ("clip-prompt", "Prompt following", "prompt", 0.1, "assetforge_vision.clip:ClipPrompt"),
    ]
    return own + [
        {
            "engine": {
                **own[0]["engine"],
                "name": name,
                "plugin": "assetforge-vision",
                "load": load,
            },
            "params": {},
            "title": title,
            "kind": kind,
            "direction": "higher",
            "gates": True,
            "margin": margin,
            "copy_limit": None,
            "readout": "mean",
            "bases": [],
            "asset_types": [],
            "made_for_type": False,
        }
        for name, title, kind, margin, load in learned
    ]


def _template(
    suite: SuiteDefinition,
    cells: Sequence[Cell],
    metrics: list[dict[str, Any]],
    outcome: str,
    gain: float,
    rng: random.Random,
) -> Template:
    first = outcome == "first"
    sides = ("new", "control") if first else ("new", "baseline", "control")
    references = [f"{number:064x}" for number in range(_REFERENCES)]
    others = [f"{number:064x}" for number in range(100, 100 + _OTHERS)]
    controls = control_index(cells)
    hashes = {
        image_key(side, controls[cell.index] if side == "control" else cell.index): f"{side} {cell.index}"
        for cell in cells
        for side in sides
    }
    for cell in cells:
        if cell.strength == 0:
            for side in sides:
                hashes[image_key(side, cell.index)] = hashes[image_key("control", controls[cell.index])]
    plan = {
        "metrics": metrics,
        "unready": [],
        "references": {"dataset": "zznew/d1", "items": [[one, ""] for one in references], "leaked": 0, "certain": True},
        "training": [],
        "others": [[one, ""] for one in others],
        "diversity": "ssim",
        "looks": 1,
    }
    info = ComparisonInfo(
        id=1,
        asset="zznew",
        version=NEW,
        baseline="" if first else BASE,
        suite=suite.name,
        state="queued",
        jobs=(),
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    given = Gathered(
        info=info,
        suite=(suite.name, suite.digest),
        cells=tuple(cells),
        hashes=hashes,
        sides=sides,
        engines={side: frozenset({"e" * 64}) for side in sides},
        same_base=True,
        plan=plan,
        retrain={},
        rounds=(1,),
        left_out={},
    )
    raw = _scores(given, gain, rng)
    rows = score_rows(given, raw)
    summary = summarise(given, rows, raw)
    verdict = summary["verdict"] or {}
    primary = next(iter(verdict.get("metrics", ())), {})
    kept = ("name", "title", "outcome", "effect", "interval", "margin", "prompts", "phrase")
    document = {"schema": "assetforge/scores/1", "metrics": metrics, "references": plan["references"], "raw": raw}
    document["cells"] = [row.as_json() for row in rows]
    return Template(
        outcome=verdict.get("outcome", "first"),
        sentence=summary["sentence"],
        headline=verdict.get("headline", ""),
        evidence={key: primary.get(key) for key in kept} if primary else {},
        guards={one["name"]: one["outcome"] for one in verdict.get("guards", ())},
        not_measured=list(verdict.get("not_measured", ())),
        summary=json.dumps(summary)[:-1],
        scores=canonical_json(_short(document)).decode(),
        metrics=json.dumps(metrics),
    )


def _short(value: Any) -> Any:
    """Figures of four digits, so that thousands of files of scores stay small."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _short(one) for key, one in value.items()}
    return [_short(one) for one in value] if isinstance(value, list | tuple) else value


def _scores(given: Gathered, gain: float, rng: random.Random) -> dict[str, dict[str, Any]]:
    raw: dict[str, dict[str, Any]] = {PRIMARY: {}, "lab-statistics": {}, "clip-prompt": {}}
    for name, spread in ((PRIMARY, 0.04), ("lab-statistics", 0.01)):
        likeness = dict(_likenesses(given, gain if name == PRIMARY else 0.0, spread, rng))
        raw[name] = {key: _vector(value, rng) for key, value in likeness.items()}
        _stay_with_base(given, raw[name], rng)
    for key in given.hashes:
        raw["clip-prompt"][key] = round(rng.gauss(0.31, 0.02), 4)
    for name, centre, spread in (
        ("black-share", 0.001, 0.0004),
        ("clipped-share", 0.01, 0.004),
        ("contrast", 26.0, 3.0),
    ):
        raw[name] = {key: round(abs(rng.gauss(centre, spread)), 5) for key in given.hashes}
    raw["sharpness"] = {key: round(abs(rng.gauss(4000.0, 400.0)), 1) for key in given.hashes}
    pairs = list(_pairs(given))
    raw["ssim"] = {pair: round(min(1.0, abs(rng.gauss(0.7, 0.1))), 4) for pair in pairs}
    raw["lab-difference"] = {pair: round(abs(rng.gauss(9.0, 3.0)), 3) for pair in pairs}
    return raw


def _likenesses(given: Gathered, gain: float, spread: float, rng: random.Random) -> Iterator[tuple[str, float]]:
    centres = {"new": 0.74 + gain, "baseline": 0.74, "control": 0.42}
    luck: dict[tuple[str, str], float] = {}
    for cell in given.cells:
        for side in given.sides:
            worn = 0.0 if cell.strength == 0 or cell.block == "bleed" else 1.0
            centre = centres["control"] + worn * (centres[side] - centres["control"])
            shared = luck.setdefault(("", cell.prompt), rng.gauss(0.0, 0.05))
            yield image_key(side, cell.index), centre + shared + rng.gauss(0.0, spread)
    for one in given.references:
        yield one, 0.86 + rng.gauss(0.0, 0.02)
    for one in given.others:
        yield one, 0.36 + rng.gauss(0.0, 0.03)


def _stay_with_base(given: Gathered, vectors: dict[str, list[float]], rng: random.Random) -> None:
    """Without its trigger, or at strength 0, a LoRA leaves the base's picture nearly as it was."""
    controls = control_index(given.cells)
    for cell in given.cells:
        if cell.strength == 0 or cell.block == "bleed":
            base = vectors[image_key("control", controls[cell.index])]
            for side in given.sides[:-1]:
                blur = 0.0 if cell.strength == 0 else 0.02
                vectors[image_key(side, cell.index)] = [round(value + rng.gauss(0.0, blur), 4) for value in base]


def _vector(likeness: float, rng: random.Random) -> list[float]:
    """A vector whose cosine to the first axis, around which the references lie, is about the likeness."""
    along = max(-0.99, min(0.99, likeness))
    rest = [rng.gauss(0.0, 1.0) for _ in range(_DIMENSIONS - 1)]
    length = math.sqrt(sum(value * value for value in rest))
    return [round(along, 4), *(round(value / length * math.sqrt(1 - along * along), 4) for value in rest)]


def _pairs(given: Gathered) -> Iterator[str]:
    controls = control_index(given.cells)
    for cell in given.cells:
        keys = {
            side: image_key(side, controls[cell.index] if side == "control" else cell.index) for side in given.sides
        }
        for first, second in PAIRS:
            if first in keys and second in keys:
                yield f"{keys[first]}|{keys[second]}"
    for one, two in seed_pairs(given.cells):
        for side in given.sides[:-1]:
            yield f"{image_key(side, one)}|{image_key(side, two)}"


def controls_of(suite: SuiteDefinition, trigger: str, class_word: str) -> tuple[Cell, ...]:
    """The cells that the bare base renders for an asset."""
    return control_cells(expand(suite, trigger=trigger, class_word=class_word))
