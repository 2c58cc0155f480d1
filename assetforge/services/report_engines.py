"""What rendered the pictures of a report: one entry for each different engine record."""

from collections.abc import Mapping
from typing import Any

from sqlmodel import Session

from assetforge.db.models_jobs import Comparison, Engine, Evaluation
from assetforge.services.comparison_records import rounds_of

__all__ = ["engine_records"]


def engine_records(session: Session, row: Comparison) -> list[dict[str, Any]]:
    """Engine records, each with the sides it rendered; facts that not all of them share are marked as different."""
    found: dict[int, dict[str, Any]] = {}
    for one in rounds_of(session, row):
        sides = (
            ("new", one.evaluation_id),
            ("baseline", one.baseline_evaluation_id),
            ("base control", one.control_evaluation_id),
        )
        for side, evaluation_id in sides:
            evaluation = session.get(Evaluation, evaluation_id) if evaluation_id is not None else None
            if evaluation is None or evaluation.engine_id is None:
                continue
            engine = session.get_one(Engine, evaluation.engine_id)
            entry = found.setdefault(
                evaluation.engine_id, {"digest": engine.digest, "sides": [], "facts": _flat(engine.record)}
            )
            if side not in entry["sides"]:
                entry["sides"].append(side)
    common = set.intersection(*(set(entry["facts"]) for entry in found.values())) if found else set()
    return [
        {
            **entry,
            "facts": [
                {"name": name, "value": value, "differs": (name, value) not in common} for name, value in entry["facts"]
            ],
        }
        for entry in found.values()
    ]


def _flat(record: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    for key, value in record.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            facts += _flat(value, f"{name}.")
        else:
            facts.append((name, str(value)))
    return facts
