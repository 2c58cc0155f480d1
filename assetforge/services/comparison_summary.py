"""The figures of a finished comparison: similarity, pixels, what limits them, and the verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from assetforge.api.job import Cell
from assetforge.db.models import Asset
from assetforge.db.models_jobs import Comparison, Engine, Evaluation, Suite
from assetforge.domain.evidence import Question, ScoredMetric, verdict_of
from assetforge.domain.regression import (
    CellScores,
    Scores,
    ceiling,
    cell_scores,
    find_flags,
    pixel_means,
    similarity_figures,
)
from assetforge.domain.regression_text import sentence
from assetforge.domain.suite import control_index
from assetforge.domain.verdict import VerdictRules
from assetforge.services.comparison_plan import primary_metric
from assetforge.services.comparison_records import ComparisonInfo, comparison_info, render_hashes, rounds_of
from assetforge.services.noise import retrain_noise
from assetforge.services.versions import row_id

__all__ = [
    "Gathered",
    "gather",
    "other_key",
    "reference_key",
    "score_rows",
    "scored_metric",
    "summarise",
    "training_key",
]

SUMMARY_SCHEMA = "assetforge/comparison-summary/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What the figures are made of, besides the scores.

    Attributes:
        info: The comparison.
        suite: Name and digest of the suite.
        cells: The cells of all rounds, in plan order.
        hashes: Hash of each render by its key.
        sides: Which of new, baseline and control exist.
        engines: Digests of the engines per side; one each unless rounds or sides differ.
        same_base: Both versions were rendered on one base model.
        plan: What was planned: metrics, references, training pictures, references of others, looks.
        retrain: What training again changes, per metric and guard rail.
        rounds: Row ids of the comparisons that were put together, the first one first.
        left_out: Blocks of the suite that were not rendered, and why.
    """

    info: ComparisonInfo
    suite: tuple[str, str]
    cells: tuple[Cell, ...]
    hashes: Mapping[str, str]
    sides: tuple[str, ...]
    engines: Mapping[str, frozenset[str]]
    same_base: bool
    plan: Mapping[str, Any]
    retrain: Mapping[str, Sequence[float]]
    rounds: tuple[int, ...]
    left_out: Mapping[str, str]

    @property
    def references(self) -> list[str]:
        """Keys of the held-out references."""
        return [reference_key(sha256) for sha256, _crop in self.plan["references"]["items"]]

    @property
    def others(self) -> list[str]:
        """Keys of references of other assets."""
        return [other_key(sha256) for sha256, _crop in self.plan.get("others", ())]

    @property
    def unmeasured_choice(self) -> str:
        """Title of the metric that was chosen to decide and could not run; empty when it could, or when none was chosen."""
        return next((str(one["title"]) for one in self.plan.get("unready", ()) if one.get("chosen")), "")


def reference_key(sha256: str) -> str:
    """Key of a held-out reference in a score job."""
    return f"ref/{sha256}"


def training_key(sha256: str) -> str:
    """Key of a picture that the version was trained on."""
    return f"train/{sha256}"


def other_key(sha256: str) -> str:
    """Key of a reference of another asset."""
    return f"other/{sha256}"


def gather(session: Session, row: Comparison) -> Gathered:
    """Read what the figures of a comparison are made of."""
    rounds = rounds_of(session, row)
    evaluations = [session.get_one(Evaluation, one.evaluation_id) for one in rounds]
    suite = session.get_one(Suite, evaluations[0].suite_id)
    asset = session.get_one(Asset, row.asset_id)
    return Gathered(
        info=comparison_info(session, row),
        suite=(suite.name, suite.digest),
        cells=tuple(Cell.model_validate(cell) for one in evaluations for cell in one.plan["cells"]),
        hashes=render_hashes(session, row),
        sides=("new", *(("baseline",) if row.baseline_evaluation_id is not None else ()), "control"),
        engines=_engines(session, rounds),
        same_base=_same_base(session, row),
        plan=row.summary["plan"],
        retrain=retrain_noise(session, asset, evaluations[0].base_model_id, leave_out=row_id(rounds[0].id)),
        rounds=tuple(row_id(one.id) for one in rounds),
        left_out=evaluations[0].plan.get("left_out", {}),
    )


def _same_base(session: Session, row: Comparison) -> bool:
    """Whether both versions were rendered on one base model."""
    if row.baseline_evaluation_id is None:
        return True
    new, baseline = (session.get_one(Evaluation, one) for one in (row.evaluation_id, row.baseline_evaluation_id))
    return new.base_model_id == baseline.base_model_id


def _engines(session: Session, rounds: Sequence[Comparison]) -> dict[str, frozenset[str]]:
    """Digests of the engines per side."""
    found: dict[str, set[str]] = {}
    for row in rounds:
        sides = {"new": row.evaluation_id, "baseline": row.baseline_evaluation_id, "control": row.control_evaluation_id}
        for side, evaluation_id in sides.items():
            evaluation = session.get(Evaluation, evaluation_id) if evaluation_id is not None else None
            if evaluation is not None and evaluation.engine_id is not None:
                found.setdefault(side, set()).add(session.get_one(Engine, evaluation.engine_id).digest)
    return {side: frozenset(digests) for side, digests in found.items()}


def score_rows(given: Gathered, scores: Scores) -> list[CellScores]:
    """Scores of every cell; embeddings that find copies say nothing about a single cell."""
    kinds = {metric["engine"]["name"]: metric["kind"] for metric in given.plan["metrics"] if not _finds_copies(metric)}
    return cell_scores(
        given.cells,
        control_index(given.cells),
        given.sides,
        scores,
        kinds=kinds,
        references=given.references,
        hashes=given.hashes,
        others=given.others,
        readouts={metric["engine"]["name"]: metric.get("readout", "mean") for metric in given.plan["metrics"]},
    )


def _finds_copies(metric: Mapping[str, Any]) -> bool:
    return metric.get("copy_limit") is not None


def summarise(given: Gathered, rows: Sequence[CellScores], scores: Scores) -> dict[str, Any]:
    """The summary of a comparison, as JSON: figures, flags, verdict, and a sentence for people."""
    plan, info = given.plan, given.info
    primary = primary_metric(plan["metrics"])
    likenesses = {
        metric["engine"]["name"]: metric.get("readout", "mean")
        for metric in plan["metrics"]
        if metric["kind"] == "embedding" and not _finds_copies(metric)
    }
    engines = {side: ", ".join(sorted(digests)) for side, digests in given.engines.items()}
    summary: dict[str, Any] = {
        "schema": SUMMARY_SCHEMA,
        "new": info.version,
        "baseline": info.baseline,
        "suite": {"name": given.suite[0], "digest": given.suite[1]},
        "primary": primary,
        "unmeasured_choice": given.unmeasured_choice,
        "metrics": [
            {"name": metric["engine"]["name"], **{key: metric[key] for key in ("title", "kind", "direction", "gates")}}
            for metric in plan["metrics"]
        ],
        "unready": plan.get("unready", []),
        "engines": {"equal": len(frozenset().union(*given.engines.values())) <= 1, **engines},
        "same_base": given.same_base,
        "references": {
            "dataset": plan["references"]["dataset"],
            "used": len(given.references),
            "leaked": plan["references"]["leaked"],
        },
        "counts": {
            "cells": len(rows),
            "prompts": len({(row.cell.block, row.cell.prompt) for row in rows}),
            "strength_zero": sum(row.cell.strength == 0 for row in rows),
            "strength_zero_identical": sum(row.cell.strength == 0 and row.identical["new|control"] for row in rows),
            "identical_to_baseline": sum(row.identical.get("new|baseline", False) for row in rows),
        },
        "rounds": list(given.rounds),
        "verdict_inputs": {
            name: {
                **similarity_figures(rows, name),
                "readout": readout,
                "ceiling": ceiling(scores, name, given.references, others=given.others, readout=readout),
            }
            for name, readout in likenesses.items()
        },
        "pixels": pixel_means(rows),
        "verdict": _verdict(given, rows, scores, primary),
    }
    summary["flags"] = [*_conditions(summary, plan), *_left_out(given), *find_flags(rows)]
    summary["sentence"] = _sentence(summary)
    return summary


def _sentence(summary: Mapping[str, Any]) -> str:
    verdict = summary["verdict"]
    return f"{verdict['headline']}. {sentence(summary)}" if verdict else sentence(summary)


def _verdict(given: Gathered, rows: Sequence[CellScores], scores: Scores, primary: str) -> dict[str, Any] | None:
    """The verdict; none without a baseline, since there is nothing that could have been lost."""
    plan = given.plan
    if not given.info.baseline:
        return None
    question = Question(
        new=given.info.version,
        baseline=given.info.baseline,
        primary=primary,
        metrics=tuple(scored_metric(metric) for metric in plan["metrics"]),
        references=tuple(given.references),
        training=tuple(training_key(sha256) for sha256, _crop in plan.get("training", ())),
        others=tuple(given.others),
        diversity=plan.get("diversity", ""),
        retrain=given.retrain,
        unready=tuple(metric["title"] for metric in plan.get("unready", ())),
        chosen=given.unmeasured_choice,
    )
    return verdict_of(rows, scores, question, VerdictRules(looks=plan.get("looks", 1))).as_json()


def scored_metric(metric: Mapping[str, Any]) -> ScoredMetric:
    """A metric of a plan, as evidence is made of it."""
    return ScoredMetric(
        name=metric["engine"]["name"],
        title=metric["title"],
        kind=metric["kind"],
        direction=metric["direction"],
        gates=metric["gates"],
        margin=metric.get("margin", 0.0),
        copy_limit=metric.get("copy_limit"),
        readout=metric.get("readout", "mean"),
    )


def _left_out(given: Gathered) -> list[dict[str, Any]]:
    return [
        {"code": "left-out", "cells": [], "message": f"The block {block} was left out. {why}"}
        for block, why in given.left_out.items()
    ]


def _conditions(summary: Mapping[str, Any], plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What limits the figures as a whole."""
    found = []
    if not summary["engines"]["equal"]:
        found.append(
            (
                "engines",
                "The pictures were rendered by different engines; differences may come from there. Compare again with --fresh to render all of them in one place.",
            )
        )
    if not summary["same_base"]:
        found.append(
            (
                "bases",
                "The two versions belong on different base models; the change between them is not the LoRA's alone.",
            )
        )
    if summary["unmeasured_choice"]:
        found.append(
            (
                "identity-not-measured",
                f"{summary['unmeasured_choice']} was chosen to decide and could not run here, and no other metric takes its place.",
            )
        )
    elif not summary["primary"]:
        found.append(
            (
                "identity-not-measured",
                "No installed metric can tell whether the asset looks like itself; pixel metrics only show that something changed.",
            )
        )
    elif not summary["references"]["used"]:
        found.append(
            (
                "no-held-out",
                "No reference is held out of training, so similarity has nothing to be measured against. Freeze a dataset with a held-out split.",
            )
        )
    if summary["references"]["leaked"]:
        found.append(
            (
                "leaked",
                f"{summary['references']['leaked']} held-out references were left out: the baseline was trained on them.",
            )
        )
    if summary["references"]["used"] and not plan["references"]["certain"]:
        found.append(
            (
                "training-unknown",
                "The version was imported: nobody knows whether its training saw the references it is judged by.",
            )
        )
    if plan.get("unplanned"):
        rules = VerdictRules(looks=plan["looks"])
        message = (
            f"This second look was asked for after the first, which had been given the whole {rules.alpha:.1%}: each claim may be wrong in "
            f"{rules.alpha + rules.level:.2%} of cases. The film's policy approves nothing by it."
        )
        found.append(("unplanned-look", message))
    if summary["baseline"] and summary["counts"]["identical_to_baseline"] == summary["counts"]["cells"]:
        found.append(("identical", "Every picture equals the baseline's, byte for byte."))
    return [{"code": code, "cells": [], "message": message} for code, message in found]
