"""What follows a version of the big film: renders, a comparison, and what a person made of it."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from big_film_journal import Approved, Journal, Known
from big_film_pictures import link
from big_film_rows import stamp
from big_film_verdicts import Template, settle
from big_film_words import AWKWARD, PEOPLE, REJECTIONS

from assetforge.api.job import Cell
from assetforge.domain.suite import control_index

__all__ = ["compare", "render"]

_ENGINE = {
    "kind": "renderer",
    "name": "diffusers",
    "version": "2",
    "plugin": "assetforge-diffusers",
    "plugin_version": "0.1.0",
    "load": "assetforge_diffusers.renderer:DiffusersRenderer",
}
_PARAMS = {"precision": "auto", "batch_size": 0, "merge": "auto"}
_PRAISE = ("The scar is right now", "Holds in rain", "Better hands; the director agrees")


def render(journal: Journal, one: Known, version: dict[str, Any], at: datetime) -> int:
    """An evaluation of the newest version, and with the first one of an asset that of the bare base; returns its row id."""
    done = at + timedelta(minutes=journal.rng.uniform(6, 30))
    evaluation = journal.next("evaluation")
    passes: list[tuple[int, dict[str, Any] | None, str, Sequence[Cell], str]] = [
        (evaluation, version, one.address, one.cells, one.cells_json)
    ]
    if one.control is None:
        one.control = journal.next("evaluation")
        words = json.dumps([cell.model_dump(mode="json") for cell in one.controls])
        passes.append((one.control, None, f"base {one.kind.base}", one.controls, words))
    subject = f"{one.asset.name}: {', '.join(name for _, _, name, _, _ in passes)}"
    payload = {"evaluations": [row for row, *_ in passes]}
    job = journal.add_job("render", "succeeded", subject, payload, done, seconds=300.0)
    controls = control_index(one.cells)
    for row, of, name, cells, words in passes:
        journal.add(
            "evaluation",
            id=row,
            asset_id=one.asset.id,
            version_id=of["id"] if of else None,
            suite_id=one.kind.suite_id,
            base_model_id=one.kind.base_id,
            renderer="diffusers",
            plan_digest=hashlib.sha256(f"plan {row}".encode()).hexdigest(),
            plan=_plan(one, name, of["weights"] if of else "", words),
            state="succeeded",
            job_id=job,
            engine_id=one.kind.engine_id,
            created_at=stamp(at),
            finished_at=stamp(done),
        )
        journal.add_all("render", _cells(journal, row, one, cells, controls, number=one.number if of else 0))
        subject = name if of else "the base control"
        journal.activity.add(done, "supervisor", "rendered", subject, suite=one.kind.suite.name, cells=len(cells))
    return evaluation


def _plan(one: Known, subject: str, weights: str, cells_json: str) -> str:
    suite = one.kind.suite
    head = {
        "suite": {"name": suite.name, "digest": suite.digest},
        "settings": suite.settings.model_dump(mode="json"),
        "engine": _ENGINE,
        "params": _PARAMS,
        "lora": {"name": subject, "sha256": weights} if weights else None,
        "executor": "local",
        "device": "auto",
    }
    return f'{json.dumps(head)[:-1]}, "cells": {cells_json}, "beside": {{}}, "left_out": {{}}}}'


def _cells(
    journal: Journal, evaluation: int, one: Known, cells: Sequence[Cell], controls: Mapping[int, int], *, number: int
) -> Iterator[dict[str, Any]]:
    """At strength 0 the picture is the bare base's."""
    many, pictures, asset = len(journal.pictures), journal.pictures, one.asset.id
    for cell in cells:
        base = number and cell.strength == 0
        index = controls[cell.index] if base else cell.index
        at = asset * 53 + (0 if base else number * 17) + index * 7
        yield {
            "evaluation_id": evaluation,
            "cell_index": cell.index,
            "block": cell.block,
            "prompt": cell.prompt,
            "seed": cell.seed,
            "strength": cell.strength,
            "sha256": pictures[at % many],
            "seconds": 0.6 + at % 9 / 10,
        }


def compare(
    journal: Journal, one: Known, version: dict[str, Any], evaluation: int, at: datetime, *, last: bool
) -> None:
    """A comparison of the newest version with the approved one, and a decision; the last version of an asset often still waits for one."""
    rng, against = journal.rng, one.approved or one.previous
    if against is None or not against.evaluation:
        against, outcome = None, "first"
    else:
        outcome = rng.choices(("pass", "regressed", "inconclusive"), (0.55, 0.2, 0.25))[0]
    choices = one.kind.templates[outcome]
    chosen = rng.randrange(len(choices))
    template, words = choices[chosen], one.asset.words
    names = {
        "new": one.address,
        "baseline": f"{one.asset.name}/v{against.number}" if against else "",
        "trigger": words.trigger,
        "class_word": words.class_word,
    }
    key = f"{outcome} {chosen}"
    if key not in one.scores:
        one.scores[key] = journal.files.put(settle(template.fill(template.scores, **names)))
    comparison, done = journal.next("comparison"), at + timedelta(minutes=rng.uniform(31, 50))
    job = journal.add_job("score", "succeeded", one.address, {"comparison": comparison}, done, seconds=20.0)
    plan = f'"plan": {_score_plan(one, template, at)}, "plan_digest": "{job:064x}"'
    journal.add(
        "comparison",
        id=comparison,
        asset_id=one.asset.id,
        version_id=version["id"],
        baseline_id=against.version if against else None,
        evaluation_id=evaluation,
        baseline_evaluation_id=against.evaluation if against else None,
        control_evaluation_id=one.control,
        job_id=job,
        state="succeeded",
        summary=f"{template.fill(template.summary, **names)}, {plan}}}",
        scores=one.scores[key],
        report="",
        extends_id=None,
        created_at=stamp(at),
    )
    sentence = template.fill(template.sentence, **names)
    journal.activity.add(done, "supervisor", "compared", one.address, baseline=names["baseline"], sentence=sentence)
    one.previous = Approved(version["id"], one.number, evaluation)
    if not (last and one.number > 1 and rng.random() < 0.45):
        _decide(journal, one, version, template, names, done, comparison=comparison, last=last)


def _score_plan(one: Known, template: Template, at: datetime) -> str:
    """What a comparison keeps of its plan: the larger half are hashes of what it was judged by and trained on."""
    number = one.dataset(at)
    held = one.asset.held_out[number]
    plan = {
        "unready": [],
        "references": {
            "dataset": f"{one.asset.name}/d{number + 1}",
            "items": [[sha256, ""] for sha256, _ in held],
            "leaked": 0,
            "certain": True,
            "captions": dict(held),
        },
        "training": [[sha256, ""] for sha256 in one.asset.training[number]],
        "others": [],
        "diversity": "ssim",
        "looks": 1,
        "executor": "local",
        "device": "auto",
    }
    return f'{{"metrics": {template.metrics}, {json.dumps(plan)[1:]}'


def _decide(
    journal: Journal,
    one: Known,
    version: dict[str, Any],
    template: Template,
    names: Mapping[str, str],
    done: datetime,
    *,
    comparison: int,
    last: bool,
) -> None:
    rng, outcome = journal.rng, template.outcome
    chance = {"first": 0.9, "pass": 0.6, "inconclusive": 0.25, "regressed": 0.0}[outcome]
    verb = "approved" if rng.random() < chance else "rejected" if outcome != "pass" and rng.random() < 0.7 else ""
    if not verb:
        version["stage"] = "candidate" if last else "retired"
        return
    actor, at = rng.choice(PEOPLE[:4]), done + timedelta(minutes=rng.uniform(5, 400))
    praise = rng.choice((*_PRAISE, AWKWARD[version["id"] % len(AWKWARD)][:200]))
    why = rng.choice(REJECTIONS) if verb == "rejected" else praise
    evidence = {
        "comparison": comparison,
        "summary_digest": f"{comparison:064x}",
        "baseline": names["baseline"],
        "sentence": template.fill(template.sentence, **names),
        "outcome": "" if outcome == "first" else outcome,
        "headline": template.fill(template.headline, **names),
        "primary": template.evidence,
        "guards": template.guards,
        "not_measured": template.not_measured,
    }
    before = one.approved if verb == "approved" else None
    journal.add(
        "alias_move",
        asset_id=one.asset.id,
        name=verb,
        from_version_id=before.version if before else None,
        to_version_id=version["id"],
        actor=actor,
        why=why,
        evidence=json.dumps(evidence),
        at=stamp(at),
    )
    version["stage"] = verb
    previous = {"previous": f"{one.asset.name}/v{before.number}" if before else ""} if verb == "approved" else {}
    journal.activity.add(at, actor, verb, one.address, why=why, **previous)
    seen = {"comparison_id": comparison, "actor": actor, "at": stamp(at)}
    journal.add_all("cell_view", ({**seen, "cell_index": cell, "seconds": 2.5 + cell} for cell in range(4)))
    if outcome != "first" and rng.random() < 0.1:
        for cell in range(8):
            sides = {"left_side": rng.choice(("new", "baseline")), "choice": rng.choice(("new", "baseline", "tie"))}
            journal.add("vote", **seen, cell_index=cell, **sides, seconds=3.0, note="")
    if verb == "approved":
        if version["id"] % 40 == 0 or not journal.waiting["publication"]:
            _publish(journal, one, version, at, actor)
        one.approved = one.previous


def _publish(journal: Journal, one: Known, version: dict[str, Any], at: datetime, actor: str) -> None:
    weights: str = version["weights"]
    path = Path("loras") / one.asset.name / f"{one.asset.name}-v{one.number:03d}.safetensors"
    target = journal.place.root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    link(journal.files.blobs / weights[:2] / weights[2:], target)
    row = {"version_id": version["id"], "path": str(path), "sha256": weights, "actor": actor, "at": stamp(at)}
    journal.add("publication", **row)
    journal.activity.add(at, actor, "published", one.address, path=str(path))
