"""The whole method of regression on versions whose worth is known: false alarms, power against planted damage, and a real improvement.

Run ``python tests/benchmarks/bench_regression.py``; it trains and renders its population on the toybox first, which takes most of its time, and goes on where it was
when it is started again. Held are: at most 5 % of the pairs of trainings that differ in their seed only are called regressed, at least 90 % of the pairs of each kind of
damage are, and no real improvement is, while it looks better in at least 80 %. ``--short`` does a little of it with one asset, in minutes.
"""

import argparse
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from regression_population import (
    CALIBRATION_SEEDS,
    DAMAGE_SEEDS,
    DAMAGES,
    GOOD,
    HALF,
    LONG,
    NINTH,
    NOISY,
    QUARTER,
    SEEDS,
    SIBLINGS,
    STYLE_SEEDS,
    THIRD,
    UNTOLD,
    Variant,
    cells_of,
    everything,
    held_out,
    make,
    material,
    members,
    render,
    shared,
)

from assetforge.domain.evidence import Question, ScoredMetric, seed_pairs, verdict_of
from assetforge.domain.regression import cell_scores, image_key
from assetforge.domain.suite import control_index, without_trigger
from assetforge.domain.verdict import Verdict, VerdictRules
from assetforge.extension.registry import get_registry, load
from assetforge.services.comparison_plan import diversity_metric, metric_plan, primary_metric, ready_metrics

FALSE_ALARMS, POWER, BETTER = 0.05, 0.9, 0.8
IMPROVEMENT, FEW_MORE = "three times the references (18 instead of 6)", "three times the references (6 instead of 2)"
QUARTERED = "a quarter of the steps"
SHORT_DAMAGES = ("colour cast on references", "captions shuffled between images")
RULES = VerdictRules(looks=2)
NOT_ALWAYS_SEEN = {
    HALF: "for mara and brass-lamp half the steps are enough: what is lost is less than the margin",
    QUARTER: "brass-lamp needs no more than 40 steps",
    QUARTERED: "brass-lamp needs no more than 40 steps",
    "a fifth of the references replaced by another asset's": "mara and ink-wash hardly change; probably four pictures out of eighteen are outvoted",
    "trigger misspelt in captions": "hardly anything is lost; probably since the misspelt word has the letters of the right one and a LoRA of one asset leaks into any prompt",
    "captions shuffled between images": "the reader of prompts cannot read ink washes, and says so",
    NOISY: "at twice the spread of the weights pictures are only softer; half as much again is always seen",
    IMPROVEMENT: "six references already teach these drawings; the step from two to six is seen",
}
"""Kinds whose share is told and not held, and why."""


@dataclass(frozen=True)
class Pair:
    """A version and what it is compared with."""

    new: Variant
    baseline: Variant


@dataclass(eq=False)
class Judge:
    """Scores and verdicts of one asset, as the score job and the service make them.

    Attributes:
        root: Folder of the population.
        name: The asset.
        retrain: What training again changes, per metric and guard rail.
    """

    root: Path
    name: str
    retrain: dict[str, list[float]] = field(default_factory=dict)

    @cached_property
    def member(self) -> Any:
        return next(one for one in members() if one.name == self.name)

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """Metrics that decide anything and can run here: of those that compare two pictures only the one for the difference between seeds."""
        fitting, _unready = ready_metrics(metric_plan(self.member.kind))
        told = diversity_metric(fitting)
        return [
            one
            for one in fitting
            if (one["kind"] != "pair" or one["engine"]["name"] == told) and "toybox" in (one["bases"] or ["toybox"])
        ]

    @cached_property
    def engines(self) -> dict[str, Any]:
        names = [one["engine"]["name"] for one in self.metrics]
        return {name: load(get_registry().metric(name).spec.load)() for name in names}

    @cache  # noqa: B019 - the judge lives as long as the harness
    def scores(self, variant: Variant | None, part: str) -> dict[str, list[Any]]:
        """Per metric: one score per cell, in their order."""
        pictures = list(render(self.root, variant, self.name, part))
        prompts = [without_trigger(cell.prompt, self.member.trigger) for cell in cells_of(self.name, part)]
        return {
            one["engine"]["name"]: self._run(one, pictures, prompts) for one in self.metrics if one["kind"] != "pair"
        }

    @cache  # noqa: B019
    def between_seeds(self, variant: Variant, part: str) -> dict[tuple[int, int], float]:
        """The difference between seeds, by the indexes of two cells."""
        cells, pictures = cells_of(self.name, part), render(self.root, variant, self.name, part)
        place = {cell.index: number for number, cell in enumerate(cells)}
        pairs = seed_pairs(cells)
        shown = [(pictures[place[first]], pictures[place[second]]) for first, second in pairs]
        return dict(zip(pairs, self.engines[diversity_metric(self.metrics)].compare(shown), strict=True))

    def _run(self, metric: dict[str, Any], pictures: list[NDArray[np.uint8]], prompts: list[str]) -> list[Any]:
        engine, kind = self.engines[metric["engine"]["name"]], metric["kind"]
        if kind == "embedding":
            return [*engine.embed(pictures)]
        return list(engine.follow(pictures, prompts) if kind == "prompt" else engine.score(pictures))

    @cached_property
    def standing(self) -> dict[str, dict[str, Any]]:
        """Embeddings of held-out references and of other assets' references, by key."""
        others = held_out(SIBLINGS[self.name]) + [
            np.asarray(picture.resize((64, 64))) for _, picture in material(Variant(GOOD, SIBLINGS[self.name], 0))
        ]
        pictures = {
            **{f"ref/{number}": picture for number, picture in enumerate(held_out(self.name))},
            # No other style is in the film.
            **({} if self.member.kind == "style" else {f"other/{n}": picture for n, picture in enumerate(others)}),
        }
        captions = dict.fromkeys(pictures, "") | {
            f"ref/{number}": without_trigger(one.caption, self.member.trigger)
            for number, one in enumerate(shared(self.name)[1])
        }
        return {
            one["engine"]["name"]: dict(
                zip(pictures, self._run(one, list(pictures.values()), list(captions.values())), strict=True)
            )
            for one in self.metrics
            if one["kind"] in ("embedding", "prompt")
        }

    @cache  # noqa: B019
    def learnt(self, variant: Variant) -> dict[str, dict[str, Any]]:
        """Embeddings of the training pictures, for metrics that find copies."""
        pictures = [np.asarray(picture.resize((64, 64))) for _, picture in material(variant)]
        return {
            one["engine"]["name"]: {
                f"train/{number}": vector
                for number, vector in enumerate(self.engines[one["engine"]["name"]].embed(pictures))
            }
            for one in self.metrics
            if one["kind"] == "embedding" and one["copy_limit"] is not None
        }

    def verdict(self, pair: Pair, *, rules: VerdictRules = RULES, more: bool = False) -> Verdict:
        """The verdict over a pair, from the first cells or with the reserve."""
        parts = ("first", "more") if more else ("first",)
        cells = [cell for part in parts for cell in cells_of(self.name, part)]
        names = [one["engine"]["name"] for one in self.metrics]
        scores: dict[str, dict[str, Any]] = {name: {**self.standing.get(name, {})} for name in names}
        for name, given in self.learnt(pair.new).items():
            scores[name] |= given
        sides = {"new": pair.new, "baseline": pair.baseline, "control": None}
        for side, variant in sides.items():
            for part in parts:
                for name, values in self.scores(variant, part).items():
                    scores[name] |= {
                        image_key(side, cell.index): value
                        for cell, value in zip(cells_of(self.name, part), values, strict=True)
                    }
                if variant is not None:
                    scores[diversity_metric(self.metrics)] |= {
                        f"{image_key(side, first)}|{image_key(side, second)}": value
                        for (first, second), value in self.between_seeds(variant, part).items()
                    }
        kinds = {one["engine"]["name"]: one["kind"] for one in self.metrics if one["copy_limit"] is None}
        references = [f"ref/{number}" for number in range(len(held_out(self.name)))]
        controls = control_index(cells)
        hashes = {image_key(side, cell.index): "" for side in sides for cell in cells}
        rows = cell_scores(cells, controls, tuple(sides), scores, kinds=kinds, references=references, hashes=hashes)
        question = Question(
            new="new",
            baseline="baseline",
            primary=primary_metric(self.metrics),
            metrics=tuple(
                ScoredMetric(
                    name=one["engine"]["name"],
                    **{key: one[key] for key in ("title", "kind", "direction", "gates", "margin", "copy_limit")},
                )
                for one in self.metrics
            ),
            references=tuple(references),
            training=tuple(key for given in self.learnt(pair.new).values() for key in given),
            others=tuple(key for given in self.standing.values() for key in given if key.startswith("other/")),
            diversity=diversity_metric(self.metrics),
            retrain=self.retrain,
        )
        return verdict_of(rows, scores, question, rules)

    def calibrate(self, seeds: Sequence[int]) -> None:
        """Measure what training again changes, on versions that take no other part."""
        for first, second in itertools.combinations(seeds, 2):
            verdict = self.verdict(Pair(Variant(GOOD, self.name, first), Variant(GOOD, self.name, second)))
            for name, value in [
                *((one.name, one.effect) for one in verdict.metrics),
                *((one.name, one.value) for one in verdict.guards),
            ]:
                if value is not None:
                    self.retrain.setdefault(name, []).append(value)


def pairs(kind: str) -> Iterator[Pair]:
    """The pairs of a kind."""
    if kind == GOOD:
        for one in members():
            for first, second in itertools.combinations(SEEDS, 2):
                yield Pair(Variant(GOOD, one.name, second), Variant(GOOD, one.name, first))
    elif kind == IMPROVEMENT:
        for one in members():
            for number, seed in enumerate(DAMAGE_SEEDS):
                yield Pair(Variant(GOOD, one.name, SEEDS[number]), Variant(THIRD, one.name, seed))
    elif kind == FEW_MORE:
        for one in members():
            for seed in DAMAGE_SEEDS:
                yield Pair(Variant(THIRD, one.name, seed), Variant(NINTH, one.name, seed))
    elif kind == QUARTERED:
        for one in members():
            for number, seed in enumerate(DAMAGE_SEEDS):
                yield Pair(Variant(QUARTER, one.name, seed), Variant(GOOD, one.name, SEEDS[number]))
    elif kind == UNTOLD:
        for number, seed in enumerate(STYLE_SEEDS):
            yield Pair(Variant(UNTOLD, "ink-wash", seed), Variant(GOOD, "ink-wash", SEEDS[number % len(SEEDS)]))
    else:
        for one in members():
            for number, seed in enumerate(DAMAGE_SEEDS):
                wanted = DAMAGE_SEEDS[0] if kind == LONG else seed
                before = Variant(HALF, one.name, seed) if kind == QUARTER else Variant(GOOD, one.name, SEEDS[number])
                yield Pair(Variant(kind, one.name, wanted), before)


def ready(root: Path, pair: Pair) -> bool:
    """Whether both were rendered."""
    return all((root / one.folder / "first.npz").is_file() for one in (pair.new, pair.baseline))


def table(root: Path, judges: dict[str, Judge], kinds: Sequence[str], workers: int) -> dict[str, dict[str, Any]]:
    """What the verdicts over each kind were; pairs that are left open get the reserve of prompts first."""
    known = {kind: [pair for pair in pairs(kind) if ready(root, pair)] for kind in kinds}
    first = {pair: judges[pair.new.asset].verdict(pair) for every in known.values() for pair in every}
    left_open = [pair for pair, one in first.items() if one.outcome == "inconclusive" and one.more_prompts]
    wanted = list(
        dict.fromkeys((variant, pair.new.asset) for pair in left_open for variant in (None, pair.baseline, pair.new))
    )
    for number, _ in enumerate(make(root, wanted, "more", workers)):
        print(f"reserve {number + 1} of {len(wanted)}", file=sys.stderr, end="\r", flush=True)
    last = {
        pair: judges[pair.new.asset].verdict(pair, more=True) if pair in left_open else first[pair] for pair in first
    }
    return {kind: _figures(every, first, last) for kind, every in known.items() if every}


def _figures(every: list[Pair], first: dict[Pair, Verdict], last: dict[Pair, Verdict]) -> dict[str, Any]:
    verdicts = [last[pair] for pair in every]
    effects = [one.metrics[0].effect or 0.0 for one in verdicts]
    return {
        "pairs": len(every),
        **{
            outcome: sum(one.outcome == outcome for one in verdicts)
            for outcome in ("pass", "regressed", "inconclusive")
        },
        "first look": dict(Counter(first[pair].outcome for pair in every)),
        "better in sign": round(sum(value > 0 for value in effects) / len(effects), 3),
        "primary": round(float(np.mean(effects)), 4),
        "vetoes": dict(Counter(rail.name for one in verdicts for rail in one.guards if rail.outcome == "veto")),
        "worse": dict(Counter(m.name for one in verdicts for m in one.metrics if m.outcome == "regressed")),
        "by asset": {
            name: dict(Counter(last[pair].outcome for pair in every if pair.new.asset == name))
            for name in dict.fromkeys(pair.new.asset for pair in every)
        },
    }


def is_short(variant: Variant | None, name: str) -> bool:
    """Whether a variant belongs to the short form: one asset, one pair that differs in its seed, and two kinds of damage that nobody should miss."""
    if name != "mara" or variant is None:
        return name == "mara"
    if variant.kind == GOOD:
        return variant.seed in SEEDS[:2]
    return variant.kind in SHORT_DAMAGES and variant.seed == DAMAGE_SEEDS[0]


def holds(kind: str, figures: dict[str, Any]) -> bool:
    """Whether the figures of a kind are those that are held."""
    share = figures["regressed"] / figures["pairs"]
    if kind == GOOD:
        return share <= FALSE_ALARMS
    if kind in (IMPROVEMENT, FEW_MORE):
        return share == 0 and figures["better in sign"] >= BETTER
    return share >= POWER


def main() -> int:
    """Make the population, judge it, print one JSON document; exit 1 when a figure is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/assetforge-population"), help="where it is kept")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--judge-only", action="store_true", help="judge what is there")
    parser.add_argument("--short", action="store_true", help="one asset and a few kinds only")
    asked = parser.parse_args()
    start = time.monotonic()
    if not asked.judge_only:
        wanted = [one for one in everything() if not asked.short or is_short(*one)]
        for number, name in enumerate(make(asked.folder, wanted, "first", asked.workers)):
            print(
                f"{time.monotonic() - start:6.0f} s  {number + 1} of {len(wanted)}  {name}", file=sys.stderr, flush=True
            )
    judges = {one.name: Judge(asked.folder, one.name) for one in members()}
    for name, judge in judges.items():
        seeds = [
            seed
            for seed in CALIBRATION_SEEDS
            if (asked.folder / Variant(GOOD, name, seed).folder / "first.npz").is_file()
        ]
        judge.calibrate(seeds)
    figures = table(asked.folder, judges, (GOOD, *DAMAGES, QUARTERED, IMPROVEMENT, FEW_MORE), asked.workers)
    held = {kind: holds(kind, one) for kind, one in figures.items() if kind not in NOT_ALWAYS_SEEN or asked.short}
    print(
        json.dumps(
            {
                "benchmark": "regression",
                "minutes": round((time.monotonic() - start) / 60, 1),
                "kinds": figures,
                "noise": {
                    name: {key: [round(value, 4) for value in values] for key, values in judge.retrain.items()}
                    for name, judge in judges.items()
                },
                "held": held,
                "not always seen": {kind: why for kind, why in NOT_ALWAYS_SEEN.items() if kind in figures},
            },
            indent=1,
        )
    )
    return 0 if all(held.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
