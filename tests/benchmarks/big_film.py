"""Makes a film of the size that assetforge is designed for: 200 assets, 100,000 references, 5,000 versions, 500,000 renders, and all that comes with them.

    python tests/benchmarks/big_film.py FOLDER [--scale 0.01] [--seed 0] [--few-pictures]

The film is made by the service that makes films; its rows are inserted in bulk, shaped like those that the services write (summaries of comparisons are computed by the
real code from invented scores). Everything but the film's id and the times, which end now, follows from the seed. ``mara`` has 30,000 references, ``ilse`` 1,000 versions.

Every picture is on disk, though only a few hundred were drawn: files of references differ in a comment, renders share files. Pictures are small (at most 224 pixels, renders
384), so that they take little space. With ``--few-pictures`` only those of five assets and the newest twelve of every other are there; ``fsck`` then misses the rest, and nothing else.

What is not real: digests of plans, recipes, bundles and summaries are made up, so that nothing is recognised as done before; the base models are not on this machine; the run
that runs is nobody's (its lease holds for years, and its owner is on another machine), and those that wait ask for a GPU; jobs that ended have no folders, so they have no logs.
Half of the references have a file in the asset's inbox, known to the watch, a second name of their blob.
"""

import argparse
import json
import os
import random
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from big_film_history import History
from big_film_journal import Journal, Kind, Place
from big_film_pictures import Drawn, Files, draw_reference, draw_render, jpeg_variant, link
from big_film_rows import Activity, AssetPlan, Picture, References, insert, stamp
from big_film_verdicts import film_suites, make_templates
from big_film_words import AWKWARD, FILM, MANY_REFERENCES, MANY_VERSIONS, asset_words

from assetforge.services.project_config import set_value
from assetforge.services.projects import create_project

ASSETS, REFERENCES, VERSIONS, RENDERS = 200, 100_000, 5_000, 500_000
MOST_REFERENCES, MOST_VERSIONS = 30_000, 1_000
WATCHED_SHARE, QUARANTINED = 0.5, 60
DAYS = 400
FOLDERS = {"character": "characters", "prop": "props", "style": "styles"}
FACTS = "big-film.json"
"""File in the film's folder that says what is in it, for the benchmarks."""


def main() -> int:
    """Make the film, and print what is in it and what it took."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--few-pictures", action="store_true")
    wanted = parser.parse_args()
    facts = make(wanted.folder, scale=wanted.scale, seed=wanted.seed, few_pictures=wanted.few_pictures)
    print(json.dumps(facts))
    return 0


def make(folder: Path, *, scale: float = 1.0, seed: int = 0, few_pictures: bool = False) -> dict[str, Any]:
    """Make the film.

    Args:
        folder: Where; empty or not there.
        scale: How large, 1 is whole; never fewer than six assets.
        seed: Of all chance.
        few_pictures: See above.

    Returns:
        What is in it, and the seconds of every stage; also written to :data:`FACTS`.
    """
    begun = time.perf_counter()
    with create_project(FILM, folder=folder, title="Harbour of a Thousand Lamps [draft]") as project:
        paths, project_id = project.paths, project.id
    set_value(paths.config, "defaults.base", "sdxl-film")
    now = datetime.now(UTC).replace(microsecond=0)
    film = _Film(Place(paths.root, project_id, now), scale, seed)
    files = Files(paths.blobs, paths.thumbs)
    connection = sqlite3.connect(paths.database, isolation_level=None)
    with closing(connection):
        # A film that was not finished is made again: no journal, no flush until the end.
        connection.execute("PRAGMA journal_mode=MEMORY")
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA cache_size=-200000")
        connection.execute("BEGIN")
        film.write(connection, files, few_pictures=few_pictures)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode=WAL")
        facts = film.facts(connection)
    facts["seconds"]["all"] = round(time.perf_counter() - begun, 1)
    facts["database_mb"] = round(paths.database.stat().st_size / 1e6, 1)
    (paths.root / FACTS).write_text(json.dumps(facts, indent=1), encoding="utf-8")
    return facts


class _Film:
    def __init__(self, place: Place, scale: float, seed: int) -> None:
        self.place, self.scale, self.seed = place, scale, seed
        self.activity = Activity()
        self.seconds: dict[str, float] = {}
        self.whole: list[str] = []
        self.assets = _plan_assets(place.now, scale, seed)

    def write(self, connection: sqlite3.Connection, files: Files, *, few_pictures: bool) -> None:
        """All rows and files, stage by stage."""
        with self._stage("assets"):
            self._assets(connection)
        with self._stage("pictures"):
            drawn, renders = self._draw(files)
        with self._stage("suites"):
            kinds = self._kinds(connection)
        with self._stage("references"):
            taken = self._references(connection, files, drawn, few_pictures=few_pictures)
        with self._stage("watch"):
            self._watch(connection, files, taken)
        with self._stage("versions"):
            journal = Journal(connection, files, self.activity, self.place, renders, self.seed)
            self.history = History(journal, kinds, self.place.now)
            self.history.write(self.assets, int(RENDERS * self.scale))
            self.activity.write(connection)
            self._live()

    def facts(self, connection: sqlite3.Connection) -> dict[str, Any]:
        """Counts of all tables, and what benchmarks need to know."""
        tables = [
            row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        ]
        counts = {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in tables}
        return {
            "schema": "assetforge/big-film/1",
            "scale": self.scale,
            "seed": self.seed,
            "many_references": MANY_REFERENCES,
            "many_versions": MANY_VERSIONS,
            "pictures_of": self.whole or "all assets",
            "live": self.history.live,
            "rows": counts,
            "seconds": self.seconds,
        }

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 1)
        print(f"{name}: {self.seconds[name]} s", file=sys.stderr, flush=True)

    def _assets(self, connection: sqlite3.Connection) -> None:
        rows = []
        for asset in self.assets:
            words = asset.words
            archived = stamp(self.place.now - timedelta(days=2)) if asset.id % 67 == 66 else None
            facts = (
                words.name,
                words.type,
                words.trigger,
                words.class_word,
                words.description,
                "",
                f"{words.type}-film",
                "{}",
            )
            rows.append((asset.id, *facts, stamp(asset.created), archived))
            self._inbox(asset).mkdir(parents=True)
            self.activity.add(asset.created, "nadia", "added", words.name, type=words.type)
        columns = "id, name, type, trigger, class_word, description, recipe, suite, settings, created_at, archived_at"
        insert(connection, "asset", columns, rows)

    def _inbox(self, asset: AssetPlan) -> Path:
        return self.place.root / FOLDERS[asset.words.type] / asset.name / "references"

    def _draw(self, files: Files) -> tuple[dict[int, list[tuple[Drawn, Path | None]]], list[str]]:
        """The drawings of references by asset, and the hashes of renders, whose files are written."""
        rng = random.Random(f"hues {self.seed}")
        drawn: dict[int, list[tuple[Drawn, Path | None]]] = {}
        number = 0
        for asset in self.assets:
            hue, many = rng.random(), 60 if asset.name == MANY_REFERENCES else 2
            drawn[asset.id] = [(draw_reference(number + k, hue, self.seed), None) for k in range(many)]
            number += many
        renders = []
        for k in range(max(24, int(400 * self.scale))):
            picture = draw_render(k, 384, self.seed)
            renders.append(files.put(picture.data))
            files.thumbnail(renders[-1], picture.thumbnail)
        return drawn, renders

    def _kinds(self, connection: sqlite3.Connection) -> dict[str, Kind]:
        kinds: dict[str, Kind] = {}
        families = {"sdxl": (1, "sdxl-film", 1024), "sd15": (2, "sd15-film", 512)}
        created = stamp(self.place.now - timedelta(days=DAYS))
        for family, (row, name, side) in families.items():
            facts = (name, family, f"{row:064x}", f"/models/{name}", "", side, "CreativeML Open RAIL++-M")
            columns = "id, name, family, digest, path, config, resolution, licence, registered_at"
            insert(connection, "base_model", columns, [(row, *facts, created)])
            record = {"engine": {"name": "diffusers", "version": "2"}, "ran": {"device": "cuda", "family": family}}
            insert(connection, "engine", "id, digest, record", [(row, f"{row + 10:064x}", json.dumps(record))])
        for row, (kind, suite) in enumerate(film_suites().items(), start=1):
            definition = json.dumps({"source": "film", **suite.model_dump(mode="json")})
            insert(
                connection,
                "suite",
                "id, name, digest, definition, created_at",
                [(row, suite.name, suite.digest, definition, created)],
            )
            base, name, _side = families[suite.family]
            kinds[kind] = Kind(
                row, suite, base, name, base, f"{kind}-{suite.family}", make_templates(suite, kind, self.seed)
            )
        return kinds

    def _references(
        self,
        connection: sqlite3.Connection,
        files: Files,
        drawn: dict[int, list[tuple[Drawn, Path | None]]],
        *,
        few_pictures: bool,
    ) -> dict[int, list[Picture]]:
        references = References(connection, self.activity, self.place.now, self.seed)
        taken: dict[int, list[Picture]] = {}
        if few_pictures:
            self.whole = [asset.name for asset in self.assets[:5]]
        for asset in self.assets:
            families, found, rows = drawn[asset.id], [], []
            there = asset.references if asset.name in self.whole or not few_pictures else 12
            for number in range(asset.references):
                family = (number * 7 + number // 13) % len(families)
                picture, twin = families[family]
                data = jpeg_variant(picture.data, f"{asset.name} {number}")
                if number >= asset.references - there:
                    sha256 = files.put(data)
                    thumb = files.thumbnail(sha256, picture.thumbnail, twin)
                    families[family] = (picture, twin or thumb)
                else:
                    sha256 = _hash(data)
                found.append(Picture(sha256, len(data), family))
                measured = (picture.sharpness * (0.5 + number % 97 / 97), picture.brightness, stamp(asset.created))
                facts = ("JPEG", "RGB", picture.width, picture.height, 1, 8, 0, 0, picture.phash ^ (number % 8191))
                rows.append((sha256, len(data), *facts, *measured))
            columns = "sha256, size, format, mode, width, height, orientation, bits, has_alpha, has_profile, phash, sharpness, brightness, created_at"
            insert(connection, "image", columns, sorted(rows))
            references.write(asset, found)
            taken[asset.id] = found
        return taken

    def _watch(self, connection: sqlite3.Connection, files: Files, taken: dict[int, list[Picture]]) -> None:
        """A folder for each asset; half of the files, and some that wait for a decision."""
        now, at = self.place.now, stamp(self.place.now - timedelta(minutes=4))
        roots, known = [], []
        names = dict(connection.execute("SELECT sha256, file_name FROM reference"))
        quarantined = max(6, int(QUARANTINED * self.scale))
        for asset in self.assets:
            inbox = self._inbox(asset)
            files_here = 0
            for picture in taken[asset.id][:: max(1, round(1 / WATCHED_SHARE))]:
                name, blob = names[picture.sha256], files.blobs / picture.sha256[:2] / picture.sha256[2:]
                if "/" in name or len(name.encode()) > 200 or not blob.exists():
                    continue
                link(blob, inbox / name)
                known.append(_watched(asset.id, inbox, name, "taken", picture.sha256, at))
                files_here += 1
            bad = quarantined if asset.id == 1 else quarantined // 20 if asset.id % 11 == 0 else 0
            known += [self._bad_file(asset, inbox, number, at) for number in range(bad)]
            state, problem = ("ok", "") if asset.id % 50 != 7 else ("lost", "The folder is gone since this morning.")
            if asset.id % 50 == 9:
                state, problem = "problem", "It cannot be listed: permission denied."
            scan = (3 + asset.id % 5, stamp(now - timedelta(seconds=40)), 0.02, stamp(now))
            facts = (
                str(inbox.relative_to(self.place.root)),
                "polling" if asset.id % 17 == 3 else "events",
                state,
                problem,
                "ext4",
                0,
                "",
            )
            roots.append((asset.id, asset.id, *facts, files_here, files_here * 2, asset.id % 3, *scan))
        columns = "id, asset_id, path, mode, state, problem, filesystem, folds_names, identity, files, events, missed, scans, last_scan_at, last_scan_s, updated_at"
        insert(connection, "watch_root", columns, roots)
        insert(
            connection,
            "watched_file",
            "root_id, path, size, mtime_ns, ctime_ns, state, sha256, code, message, hint, at",
            known,
        )

    def _bad_file(self, asset: AssetPlan, inbox: Path, number: int, at: str) -> tuple[Any, ...]:
        kinds: Sequence[tuple[str, bytes, str, str, str]] = (
            (
                "jpg",
                b"\xff\xd8\xff\xe0" + b"cut off" * 9,
                "truncated",
                "is cut off: the end of the picture is missing.",
                "Copy it again.",
            ),
            (
                "jpg",
                draw_reference(number + 900, 0.1, self.seed).data[:600],
                "damaged",
                "is damaged.",
                "Copy it again from where it came.",
            ),
            (
                "exr",
                b"v/1\x01 not a picture that is read here",
                "no-reader",
                "is an OpenEXR picture, which this installation cannot read.",
                "",
            ),
            ("png", b"", "empty", "is empty (0 bytes).", "Copy it again from where it came from."),
        )
        suffix, data, code, message, hint = kinds[number % len(kinds)]
        name = f"take [{number}] {'🏮' if number % 5 == 2 else 'IMG'}.{suffix}"
        (inbox / name).write_bytes(data)
        return _watched(asset.id, inbox, name, "quarantined", "", at, code, f"{name} {message}", hint)

    def _live(self) -> None:
        """The folder of the run that runs, as far as it has come."""
        live, workdir = self.history.live, Path(self.history.live["workdir"])
        (workdir / "outputs").mkdir(parents=True)
        rng, total, done = random.Random(f"live {self.seed}"), 200_000, 900
        lines: list[dict[str, Any]] = [{"kind": "started", "resumed_from": 0, "device": "cuda"}]
        lines += [{"kind": "log", "message": AWKWARD[number]} for number in range(len(AWKWARD))]
        for step in range(1, done + 1):
            loss = 0.09 + 0.3 * 0.995**step + rng.gauss(0, 0.01)
            lines.append(
                {
                    "kind": "progress",
                    "step": step,
                    "total": total,
                    "loss": loss,
                    "lr": 1e-4,
                    "it_s": 1.9,
                    "memory_mb": 21400.0,
                }
            )
            if step % 250 == 0:
                lines.append({"kind": "checkpoint", "step": step})
                lines.append({"kind": "metric", "name": "validation_loss", "value": loss + 0.02, "step": step})
        with (workdir / "events.jsonl").open("w", encoding="utf-8") as stream:
            for number, line in enumerate(lines):
                event = {"kind": line.pop("kind"), "t": live["began"] + number * 0.5, "attempt": 1, **line}
                stream.write(json.dumps(event, ensure_ascii=False) + "\n")
        (workdir / "log.txt").write_text("\n".join(AWKWARD), encoding="utf-8")
        spec = {
            "schema": "assetforge/job/1",
            "project": self.place.project_id,
            "job": live["job"],
            "run": live["run"],
            "kind": "train",
        }
        (workdir / "job.json").write_text(json.dumps({**spec, "params": {}, "seed": 0}), encoding="utf-8")
        status = {
            "schema": "assetforge/status/1",
            "attempt": 1,
            "state": "running",
            "host": "studio-4090",
            "agent": None,
            "child": None,
        }
        (workdir / "status.json").write_text(
            json.dumps({**status, "started_at": live["began"], "heartbeat": time.time()}), encoding="utf-8"
        )
        live.update(step=done, total=total)


def _plan_assets(now: datetime, scale: float, seed: int) -> list[AssetPlan]:
    """Few assets have many references and versions, many have few, as in films."""
    rng = random.Random(f"assets {seed}")
    count = max(6, int(ASSETS * scale))
    references = _shares(int(REFERENCES * scale), int(MOST_REFERENCES * scale), 0, count, rng)
    versions = _shares(int(VERSIONS * scale), int(MOST_VERSIONS * scale), 1, count, rng)
    assets = []
    for number, words in enumerate(asset_words(count, rng)):
        created = now - timedelta(days=DAYS * (1 - 0.8 * number / count), minutes=rng.randrange(600))
        datasets = 4 if number == 0 else max(1, min(12, versions[number] // 3))
        assets.append(AssetPlan(number + 1, words, created, references[number], versions[number], datasets))
    return assets


def _shares(total: int, most: int, who: int, count: int, rng: random.Random) -> list[int]:
    """``total`` dealt out among ``count``, of which one gets ``most`` and everybody at least two."""
    weights = [rng.lognormvariate(0.0, 0.7) for _ in range(count)]
    weights[who] = 0.0
    rest, whole = max(0, total - most - 2 * (count - 1)), sum(weights)
    shares = [2 + int(rest * weight / whole) for weight in weights]
    shares[who] = most
    left = total - sum(shares)
    for number in range(max(0, left)):
        shares[(who + 1 + number) % count] += 1
    return shares


def _watched(
    root: int,
    inbox: Path,
    name: str,
    state: str,
    sha256: str,
    at: str,
    code: str = "",
    message: str = "",
    hint: str = "",
) -> tuple[Any, ...]:
    found = (inbox / name).stat()
    return (
        root,
        os.fsencode(name),
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
        state,
        sha256,
        code,
        message,
        hint,
        at,
    )


def _hash(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
