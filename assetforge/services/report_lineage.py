"""What lies between two versions, as a report shows it: which references, captions and parameters changed."""

import re
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from sqlmodel import Session, col, select

from assetforge.db.models import Asset, BaseModelRecord, DatasetItemRow, DatasetVersion, Run, Version
from assetforge.domain.dataset_diff import DatasetLine, diff_datasets
from assetforge.domain.names import dataset_address, version_address

__all__ = ["caption_diff", "lineage_view", "version_facts"]


def version_facts(asset: Asset, version: Version) -> dict[str, Any]:
    """A version in a heading: address, short name, stage."""
    return {
        "address": version_address(asset.name, version.number),
        "name": f"v{version.number}",
        "stage": version.stage,
        "weights": version.weights,
        "made": version.created_at.strftime("%Y-%m-%d"),
        "origin": version.origin,
    }


def lineage_view(session: Session, asset: Asset, version: Version, baseline: Version | None) -> dict[str, Any]:
    """Both versions' facts side by side, and the change of their datasets when both were trained here."""
    new, old = _sources(session, asset, version), _sources(session, asset, baseline)
    facts = [
        (name, str(new["facts"].get(name, "")), str(old["facts"].get(name, "")) if baseline is not None else "")
        for name in dict.fromkeys([*new["facts"], *old["facts"]])
    ]
    return {
        "facts": [
            {"name": name, "new": mine, "old": theirs, "changed": baseline is not None and mine != theirs}
            for name, mine, theirs in facts
        ],
        "changes": _dataset_changes(session, new["dataset"], old["dataset"]),
    }


def _sources(session: Session, asset: Asset, version: Version | None) -> dict[str, Any]:
    if version is None:
        return {"facts": {}, "dataset": None}
    run = session.get(Run, version.run_id) if version.run_id is not None else None
    facts: dict[str, Any] = {"made": version.created_at.strftime("%Y-%m-%d %H:%M UTC")}
    if run is None:
        return {
            "facts": {**facts, "origin": version.origin or "imported", "weights": version.weights[:12]},
            "dataset": None,
        }
    dataset = session.get_one(DatasetVersion, run.dataset_id)
    base = session.get_one(BaseModelRecord, run.base_model_id)
    facts |= {
        "dataset": f"{dataset_address(asset.name, dataset.number)} · {dataset.train_count} trained, {dataset.held_out_count} held out",
        "run": f"run {run.id}, seed {run.seed}",
        "recipe": run.recipe,
        "trainer": f"{run.trainer} {run.trainer_version} · {run.plugin} {run.plugin_version}",
        "base": f"{base.name} {base.digest[:12]}",
        "weights": version.weights[:12],
        **{f"params.{name}": value for name, value in sorted(run.params.items())},
    }
    return {"facts": facts, "dataset": dataset}


def _dataset_changes(session: Session, new: DatasetVersion | None, old: DatasetVersion | None) -> dict[str, Any] | None:
    """Added, removed and recaptioned references; ``None`` when there is nothing to compare."""
    if new is None or old is None:
        return None
    after, before = _lines(session, new), _lines(session, old)
    diff = diff_datasets(before.values(), after.values())
    return {
        "empty": diff.empty,
        "added": _pictures(diff.added, after),
        "removed": _pictures(diff.removed, before),
        "recaptioned": [
            {
                "sha256": change.sha256,
                "crop": after[change.sha256].crop,
                "before": change.before,
                "after": change.after,
                "words": caption_diff(change.before, change.after),
            }
            for change in diff.recaptioned
        ],
        "others": [
            f"{len(changes)} {name}"
            for name, changes in (
                ("recropped", diff.recropped),
                ("with another mask", diff.remasked),
                ("moved to another split", diff.resplit),
                ("with other repeats", diff.repeats),
            )
            if changes
        ],
    }


def caption_diff(before: str, after: str) -> list[tuple[str, str]]:
    """The words of two captions in reading order, each stretch with ``same``, ``gone`` or ``new``; spaces belong to the word before them."""
    old, new = (re.findall(r"\S+\s*", caption) for caption in (before, after))
    parts: list[tuple[str, str]] = []
    matcher = SequenceMatcher(None, [word.strip() for word in old], [word.strip() for word in new], autojunk=False)
    for kind, i, j, k, m in matcher.get_opcodes():
        if kind == "equal":
            parts.append(("same", "".join(new[k:m])))
            continue
        parts += [("gone", "".join(old[i:j]))] if j > i else []
        parts += [("new", "".join(new[k:m]))] if m > k else []
    return parts


def _pictures(hashes: Sequence[str], lines: Mapping[str, DatasetLine]) -> list[dict[str, Any]]:
    return [
        {
            "sha256": sha256,
            "crop": lines[sha256].crop,
            "caption": lines[sha256].caption,
            "split": lines[sha256].split,
        }
        for sha256 in hashes
    ]


def _lines(session: Session, dataset: DatasetVersion) -> dict[str, DatasetLine]:
    rows = session.exec(
        select(DatasetItemRow).where(DatasetItemRow.dataset_id == dataset.id).order_by(col(DatasetItemRow.sha256))
    ).all()
    return {
        row.sha256: DatasetLine(
            sha256=row.sha256,
            caption=row.caption,
            crop=row.crop,
            repeats=row.repeats,
            split=row.split,
            mask=row.mask,
        )
        for row in rows
    }
