"""Runs and versions of the big film, in the order in which they happened, and what is in the queue now."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from big_film_journal import FAILURES, Approved, Journal, Kind, Known
from big_film_judged import compare, render
from big_film_pictures import lora_file
from big_film_rows import AssetPlan, stamp
from big_film_verdicts import controls_of
from big_film_words import AWKWARD, PEOPLE

from assetforge.domain.suite import expand

__all__ = ["History"]

_ENGINE = {"torch": "2.13.0+cu130", "device": "cuda", "device_name": "NVIDIA GeForce RTX 4090", "dtype": "bf16"}
_PARAMS: dict[str, Any] = {
    "network": "lora",
    "rank": 16,
    "alpha": 16.0,
    "targets": "attention+ff",
    "dropout": 0.0,
    "text_encoder": False,
    "steps": 1900,
    "batch_size": 4,
    "accumulate": 1,
    "checkpoint_every": 250,
    "keep_every": 0,
    "learning_rate": 1e-4,
    "lr_scheduler": "cosine",
    "warmup": 0.05,
    "optimizer": "adamw",
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
    "resolutions": [],
    "buckets": True,
    "bucket_step": 64,
    "caption_dropout": 0.0,
    "min_snr_gamma": 5.0,
    "precision": "auto",
    "gradient_checkpointing": True,
}
_FAR_S = 10 * 365 * 86400.0
_ELSEWHERE = "studio-4090|boot|1|1"
"""An owner on another machine, of whom nobody here can say whether it lives."""


class _Event(NamedTuple):
    at: datetime
    asset: int
    ends: str
    evaluated: bool
    last: bool


class History:
    """Writes everything from run to decision.

    Args:
        journal: Where it is gathered.
        kinds: By asset type.
        now: The end of all history.
    """

    def __init__(self, journal: Journal, kinds: Mapping[str, Kind], now: datetime) -> None:
        self.journal, self.kinds, self.now = journal, kinds, now
        self.live: dict[str, Any] = {}

    def write(self, assets: Sequence[AssetPlan], renders: int) -> None:
        """Write the history of all assets.

        Args:
            assets: The assets, their datasets written.
            renders: How many renders there shall be; so many versions are evaluated.
        """
        known = {asset.id: self._known(asset) for asset in assets}
        controls = sum(len(one.controls) for one in known.values())
        evaluations = max(len(assets), (renders - controls) // len(next(iter(known.values())).cells))
        for event in self._events(assets, evaluations):
            self._happen(known[event.asset], event)
            if len(self.journal.waiting["comparison"]) > 200:
                self.journal.flush()
        for one in known.values():
            if one.approved:
                self.journal.add("alias", asset_id=one.asset.id, name="approved", version_id=one.approved.version)
        for number, asset in enumerate(assets[:6]):
            self._open_run(known[asset.id], number)
        self.journal.flush()

    def _known(self, asset: AssetPlan) -> Known:
        kind, words = self.kinds[asset.words.type], asset.words
        cells = expand(kind.suite, trigger=words.trigger, class_word=words.class_word)
        return Known(
            asset=asset,
            kind=kind,
            cells=cells,
            controls=controls_of(kind.suite, words.trigger, words.class_word),
            cells_json=json.dumps([cell.model_dump(mode="json") for cell in cells]),
        )

    def _events(self, assets: Sequence[AssetPlan], evaluations: int) -> list[_Event]:
        """When which run ended, and whether its version was evaluated; a first version always is."""
        rng, drafts = self.journal.rng, []
        for asset in assets:
            begin = asset.dataset_times[0] + timedelta(hours=1)
            span = (self.now - begin).total_seconds()
            # Denser towards the end: a film is busiest before it is delivered.
            moments = sorted(begin + timedelta(seconds=span * rng.random() ** 0.7) for _ in range(asset.versions))
            drafts += [(at, asset.id, number, number == len(moments) - 1) for number, at in enumerate(moments)]
        drafts.sort()
        later = [number for number, draft in enumerate(drafts) if draft[2] > 0]
        left_out = min(len(later), max(0, len(drafts) - evaluations))
        # Half of those without renders are so because they are new.
        new = later[len(later) - left_out // 2 :] if left_out > 1 else []
        skipped = {*new, *rng.sample(later[: len(later) - len(new)], left_out - len(new))}
        events = [
            _Event(at, asset, "succeeded", number not in skipped, last)
            for number, (at, asset, _, last) in enumerate(drafts)
        ]
        for at, asset, _number, _last in rng.sample(drafts, max(2, len(drafts) // 30)):
            ends = rng.choice(("failed", "failed", "cancelled", "lost"))
            events.append(_Event(at + timedelta(minutes=3), asset, ends, evaluated=False, last=False))
        return sorted(events)

    def _happen(self, one: Known, event: _Event) -> None:
        run = self._train(one, event)
        if event.ends != "succeeded":
            return
        version = self._made(one, event, run)
        if event.evaluated:
            evaluation = render(self.journal, one, version, event.at)
            compare(self.journal, one, version, evaluation, event.at, last=event.last)
        elif one.previous is None:
            one.previous = Approved(version["id"], one.number, 0)

    def _train(self, one: Known, event: _Event) -> int:
        rng, asset = self.journal.rng, one.asset
        run, dataset, seconds = self.journal.next("run"), one.dataset(event.at), rng.uniform(600.0, 4000.0)
        created = event.at - timedelta(seconds=seconds + 20.0)
        # The same remark as the job's, which gets the next number.
        job = self.journal.add_job("train", event.ends, asset.name, {"run": run}, event.at, run=run, seconds=seconds)
        error = FAILURES[job % len(FAILURES)] if event.ends == "failed" else ""
        loss = round(rng.uniform(0.05, 0.14), 4)
        metrics = {"loss": loss, "steps": 1900.0, "seconds_per_step": 0.31, "memory_mb": 17204.0}
        cause = AWKWARD[run % len(AWKWARD)] if run % 50 == 1 else rng.choice(("by hand", "by hand", "5 new references"))
        ended = {"metrics": json.dumps(metrics if event.ends == "succeeded" else {}), "engine": json.dumps(_ENGINE)}
        self._add_run(
            one,
            run,
            dataset,
            params=json.dumps({**_PARAMS, "rank": rng.choice((8, 16, 32))}),
            seed=run % 7,
            state=event.ends,
            cause=cause,
            requested_by=PEOPLE[run % 4],
            error=error,
            **ended,
            created_at=stamp(created),
            started_at=stamp(created + timedelta(seconds=15)),
            finished_at=stamp(event.at),
        )
        told = {"asset": asset.name, "dataset": f"{asset.name}/d{dataset + 1}", "recipe": one.kind.recipe}
        self.journal.activity.add(created, PEOPLE[run % 4], "queued", f"run {run}", **told, cause=cause)
        if event.ends != "succeeded":
            self.journal.activity.add(event.at, "supervisor", event.ends, f"run {run}", asset=asset.name, error=error)
        return run

    def _add_run(self, one: Known, run: int, dataset: int, **values: Any) -> None:
        self.journal.add(
            "run",
            id=run,
            asset_id=one.asset.id,
            dataset_id=one.asset.dataset_rows[dataset],
            base_model_id=one.kind.base_id,
            recipe=one.kind.recipe,
            trainer="diffusers-lora",
            trainer_version="3",
            plugin="assetforge-diffusers",
            plugin_version="0.1.0",
            recipe_key=hashlib.sha256(f"key {run}".encode()).hexdigest(),
            **values,
        )

    def _made(self, one: Known, event: _Event, run: int) -> dict[str, Any]:
        """The version of a run; one in a hundred was imported instead."""
        one.number += 1
        row_id, data = self.journal.next("version"), lora_file(one.address)
        imported = row_id % 100 == 50
        version = self.journal.add(
            "version",
            id=row_id,
            asset_id=one.asset.id,
            number=one.number,
            run_id=None if imported else run,
            parent_id=None if imported else one.parent,
            family=one.kind.suite.family,
            stage="candidate",
            weights=self.journal.files.put(data),
            diffusers="",
            tensor_hash=hashlib.sha256(data[-128:]).hexdigest(),
            step=0 if imported else 1900,
            origin=f"{AWKWARD[row_id // 100 % len(AWKWARD)][:60]}.safetensors" if imported else "",
            note=AWKWARD[row_id // 60 % len(AWKWARD)] if row_id % 60 == 7 else "",
            created_at=stamp(event.at),
        )
        one.parent = row_id
        self.journal.activity.add(event.at, "supervisor", "created", one.address, run=run)
        return version

    def _open_run(self, one: Known, number: int) -> None:
        """The first is a run that runs, on a machine that nobody can ask whether it is alive and with a lease of years; the others wait for a GPU."""
        run, job, running = self.journal.next("run"), self.journal.next("job"), number == 0
        began = self.now - timedelta(minutes=14 - number)
        started = began.timestamp() + 9.0
        state, handle = "running" if running else "queued", self.journal.handle(job) if running else {}
        self._add_run(
            one,
            run,
            -1,
            params=json.dumps(_PARAMS),
            seed=0,
            state=state,
            cause="by hand",
            requested_by=PEOPLE[0],
            error="",
            metrics="{}",
            engine="{}",
            created_at=stamp(began),
            started_at=stamp(began + timedelta(seconds=9)) if running else None,
            finished_at=None,
        )
        held = {"executor": "local", "slot": "gpu:0" if running else "", "handle": json.dumps(handle), "error": ""}
        self.journal.add(
            "job",
            id=job,
            kind="train",
            state=state,
            subject=one.asset.name,
            run_id=run,
            payload=json.dumps({"run": run}),
            **held,
            priority=0,
            device="cuda",
            attempt=int(running),
            max_attempts=8,
            owner=_ELSEWHERE if running else "",
            lease_until=self.now.timestamp() + _FAR_S if running else 0.0,
            dedupe_key=f"train:open:{run}",
            requested_by=PEOPLE[0],
            bundle_id=f"{job:064x}" if running else "",
            not_before=0.0,
            cancel_requested=0,
            created_at=began.timestamp(),
            started_at=started if running else None,
            finished_at=None,
        )
        if running:
            times = {"started_at": started, "finished_at": None}
            self.journal.add("job_attempt", job_id=job, number=1, **held, outcome="", **times)
            workdir = handle["workdir"]
            self.live = {"job": job, "run": run, "asset": one.asset.name, "workdir": workdir, "began": started}
        self.journal.activity.add(began, PEOPLE[0], "queued", f"run {run}", asset=one.asset.name, cause="by hand")
