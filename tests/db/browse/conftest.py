"""Films written straight into the tables: one of any size, and single rows with everything that a test does not care about left empty."""

import dataclasses
import hashlib
import json
import random
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assetforge.db.browse.reader import Reader
from assetforge.db.migrate import migrate

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
TYPES = ("character", "prop", "style", "location")
TAGS = ("rain", "night", "profile", "close-up", "street", "lamp", "harbour", "red coat", "smiling", "back view")


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything there is; ``largest`` is the share of the references that the first asset holds."""

    assets: int = 8
    references: int = 400
    versions: int = 40
    renders: int = 2_000
    comparisons: int = 60
    largest: float = 0.3
    summary_bytes: int = 2_000


FULL = Size(
    assets=200,
    references=100_000,
    versions=5_000,
    renders=500_000,
    comparisons=20_000,
    largest=0.2,
    summary_bytes=20_000,
)


def stamp(moment: datetime) -> str:
    """A time as the database holds it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def _hash(*parts: object) -> str:
    return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()


def make(database: Path, size: Size = Size(), seed: int = 1) -> None:
    """Write a film of a size into a new database file."""
    database.parent.mkdir(parents=True, exist_ok=True)
    migrate(database, backups=database.parent)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA foreign_keys=OFF")
        with connection:
            _Writer(connection, size, random.Random(seed)).write()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def insert(connection: sqlite3.Connection, table: str, columns: list[str], rows) -> None:
    """Columns that are not given and may not be null get the empty value of their type, as services leave them."""
    given, values = list(columns), ["?"] * len(columns)
    for _, name, kind, not_null, default, key in connection.execute(f"PRAGMA table_info({table})"):
        if not_null and default is None and not key and name not in given:
            given.append(name)
            values.append(
                "0" if kind in ("INTEGER", "FLOAT", "BIGINT", "BOOLEAN") else "'{}'" if kind == "JSON" else "''"
            )
    connection.executemany(f"INSERT INTO {table} ({', '.join(given)}) VALUES ({', '.join(values)})", rows)


class Rows:
    """Writes single rows into a film."""

    def __init__(self, database: Path) -> None:
        self.database = database

    def put(self, table: str, **values) -> int:
        """Insert a row; times and JSON are written as services write them. Returns its row id."""
        plain = {
            name: stamp(value)
            if isinstance(value, datetime)
            else json.dumps(value)
            if isinstance(value, dict | list)
            else value
            for name, value in values.items()
        }
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.execute("PRAGMA foreign_keys=OFF")
            insert(connection, table, list(plain), [tuple(plain.values())])
            return connection.execute(f"SELECT max(rowid) FROM {table}").fetchone()[0] if table != "dataset_item" else 0

    def run(self, sql: str, *parameters) -> None:
        """Change something."""
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.execute(sql, parameters)


@pytest.fixture(scope="session")
def _made(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "forge.db"
    make(path, Size())
    return path


@pytest.fixture
def reader(_made):
    """A film with eight assets and a little of everything."""
    opened = Reader(_made)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def _blank(tmp_path_factory):
    path = tmp_path_factory.mktemp("blank") / "forge.db"
    migrate(path, backups=path.parent)
    return path


@pytest.fixture
def rows(tmp_path, _blank):
    """An empty film."""
    folder = tmp_path / "empty" / ".assetforge"
    folder.mkdir(parents=True)
    shutil.copyfile(_blank, folder / "forge.db")
    return Rows(folder / "forge.db")


@pytest.fixture
def empty(rows):
    """A reader of the film that ``rows`` writes into."""
    opened = Reader(rows.database)
    yield opened
    opened.close()


@pytest.fixture
def full_film(tmp_path_factory):
    """The film that the figures are about, with all references in one asset when asked so."""

    def made(largest: float) -> Path:
        path = tmp_path_factory.mktemp("full") / "forge.db"
        make(path, dataclasses.replace(FULL, largest=largest))
        return path

    return made


@pytest.fixture
def now():
    """When the film is looked at."""
    return NOW


class _Writer:
    def __init__(self, connection: sqlite3.Connection, size: Size, rng: random.Random) -> None:
        self.connection, self.size, self.rng = connection, size, rng

    def _insert(self, table: str, columns: str, rows) -> None:
        insert(self.connection, table, columns.split(), rows)

    def write(self) -> None:
        self._insert("meta", "key value", [("project_id", "large"), ("name", "large")])
        self._assets()
        self._references()
        self._datasets_and_versions()
        self._renders()
        self._comparisons()

    def _assets(self) -> None:
        self.names = [f"{TYPES[index % 4]}-{index:03d}" for index in range(self.size.assets)]
        self._insert(
            "asset",
            "id name type trigger class_word description recipe suite created_at",
            [
                (
                    index + 1,
                    name,
                    TYPES[index % 4],
                    f"trg{index}",
                    "woman",
                    f"the {name} of the film",
                    "",
                    "",
                    stamp(NOW - timedelta(days=400)),
                )
                for index, name in enumerate(self.names)
            ],
        )

    def _references(self) -> None:
        size, rng = self.size, self.rng
        first = int(size.references * size.largest)
        images, rows = [], []
        self.of_asset: dict[int, list[str]] = {index + 1: [] for index in range(size.assets)}
        for number in range(size.references):
            asset = 1 if number < first or size.assets == 1 else 2 + number % (size.assets - 1)
            sha256 = _hash("reference", number)
            added = NOW - timedelta(days=300 * (1 - number / size.references), seconds=rng.random() * 86400)
            side = rng.choice((384, 512, 768, 1024, 2048))
            images.append(
                (
                    sha256,
                    side * side // 4,
                    rng.choice(("PNG", "JPEG", "WEBP")),
                    "RGB",
                    side,
                    side * 3 // 4,
                    rng.getrandbits(62),
                    rng.random() * 900,
                    rng.random(),
                    stamp(added),
                )
            )
            caption = (
                "" if number % 29 == 0 else f"{', '.join(rng.sample(TAGS, 4))}, picture number {number} of this asset"
            )
            excluded = number % 31 == 0
            rows.append(
                (
                    number + 1,
                    asset,
                    sha256,
                    "excluded" if excluded else "active",
                    "blurred" if excluded else "",
                    f"IMG_{number:06d}.png",
                    f"shoot {number % 7}",
                    "" if number % 23 == 0 else "studio, all uses",
                    caption,
                    "hand",
                    "",
                    "",
                    1,
                    "held_out" if number % 10 == 0 else "train",
                    number // 2 if number % 17 < 2 else None,
                    stamp(added),
                    stamp(added),
                )
            )
            if not excluded:
                self.of_asset[asset].append((sha256, added, caption, "held_out" if number % 10 == 0 else "train"))
        self._insert("image", "sha256 size format mode width height phash sharpness brightness created_at", images)
        self._insert(
            "reference",
            "id asset_id sha256 state excluded_reason file_name origin rights caption caption_source crop mask repeats split near_group added_at updated_at",
            rows,
        )

    def _datasets_and_versions(self) -> None:
        size, rng = self.size, self.rng
        self._insert(
            "base_model",
            "id name family digest path resolution registered_at",
            [(1, "sdxl-1.0", "sdxl", "digest", "/base", 1024, stamp(NOW))],
        )
        per_asset = size.versions // size.assets
        params = {
            "network": "lora",
            "rank": 32,
            "alpha": 16.0,
            "steps": 1900,
            "learning_rate": 1e-4,
            **{f"other_{n}": n for n in range(40)},
        }
        datasets, items, runs, versions, aliases, moves = [], [], [], [], [], []
        run = 0
        for asset in range(1, size.assets + 1):
            if asset % 10 == 9:
                continue  # one in ten has only been collected
            parent_dataset = parent_version = None
            references = self.of_asset[asset]
            for number in range(1, 6):
                moment = NOW - timedelta(days=60 * (6 - number) - 58)
                lines = [line for line in references if line[1] < moment]
                if number < 5 and len(lines) > 2000:
                    lines = lines[:2000]
                identifier = len(datasets) + 1
                held = sum(line[3] == "held_out" for line in lines)
                datasets.append(
                    (
                        identifier,
                        asset,
                        number,
                        _hash("tree", identifier),
                        parent_dataset,
                        len(lines) - held,
                        held,
                        stamp(moment),
                    )
                )
                items += [(identifier, line[0], line[2], "", 1, line[3]) for line in lines]
                for step in range(max(1, per_asset // 5)):
                    run += 1
                    finished = moment + timedelta(hours=2 + step)
                    runs.append(
                        (
                            run,
                            asset,
                            identifier,
                            json.dumps(params),
                            f"key{run}",
                            "succeeded",
                            stamp(finished - timedelta(hours=1)),
                            stamp(finished),
                        )
                    )
                    stage = rng.choice(("candidate", "candidate", "rejected", "approved"))
                    version = len(versions) + 1
                    versions.append(
                        (
                            version,
                            asset,
                            (number - 1) * max(1, per_asset // 5) + step + 1,
                            run,
                            parent_version,
                            stage,
                            _hash("weights", version),
                            stamp(finished),
                        )
                    )
                    moves.append(
                        (
                            asset,
                            "approved" if stage == "approved" else "rejected",
                            version,
                            "director",
                            "the scar is right now",
                            stamp(finished + timedelta(hours=3)),
                        )
                    )
                    parent_version = version
                parent_dataset = identifier
            aliases.append((asset, "approved", max(1, len(versions) - (asset % 3))))
            if asset % 7 == 3:
                run += 1
                runs.append(
                    (
                        run,
                        asset,
                        parent_dataset,
                        json.dumps(params),
                        f"key{run}",
                        "failed",
                        stamp(NOW - timedelta(days=1)),
                        stamp(NOW - timedelta(hours=20)),
                    )
                )
        self.versions, self.datasets = versions, datasets
        self._insert(
            "dataset_version", "id asset_id number tree_hash parent_id train_count held_out_count created_at", datasets
        )
        self._insert("dataset_item", "dataset_id sha256 caption crop repeats split", items)
        self._insert(
            "run",
            "id asset_id dataset_id params recipe_key state created_at finished_at base_model_id recipe trainer trainer_version plugin plugin_version seed cause",
            [
                (*row, 1, "character-sdxl", "diffusers-lora", "1", "assetforge-diffusers", "0.1.0", 0, "by hand")
                for row in runs
            ],
        )
        self._insert(
            "version",
            "id asset_id number run_id parent_id stage weights created_at family",
            [(*row, "sdxl") for row in versions],
        )
        self._insert("alias", "asset_id name version_id", aliases)
        self._insert("alias_move", "asset_id name to_version_id actor why at", moves)

    def _renders(self) -> None:
        if not self.versions:
            return
        per_version = max(1, self.size.renders // len(self.versions))
        self._insert(
            "suite", "id name digest definition created_at", [(1, "character-core", "digest", "{}", stamp(NOW))]
        )
        plan = json.dumps({"suite": {"name": "character-core"}, "cells": ["x" * 80] * 50})
        self._insert(
            "evaluation",
            "id asset_id version_id plan_digest plan state created_at finished_at suite_id base_model_id renderer",
            [
                (row[0], row[1], row[0], f"plan{row[0]}", plan, "succeeded", row[7], row[7], 1, 1, "diffusers")
                for row in self.versions
            ],
        )
        self._insert(
            "render",
            "evaluation_id cell_index block prompt seed strength sha256 seconds",
            (
                (
                    row[0],
                    cell,
                    "strengths" if cell < 3 else "core-in",
                    "trg in profile in heavy rain, night",
                    1021 + cell,
                    0.6 if cell < 2 else 1.0,
                    _hash("render", row[0], cell),
                    1.5,
                )
                for row in self.versions
                for cell in range(per_version)
            ),
        )

    def _comparisons(self) -> None:
        if not self.versions:
            return
        rows = []
        for number in range(self.size.comparisons):
            version = self.versions[number % len(self.versions)]
            outcome = ("pass", "regressed", "inconclusive")[(number * 7 + version[0]) % 3]
            summary = {
                "schema": "assetforge/comparison-summary/1",
                "plan": ["x" * 100] * (self.size.summary_bytes // 104),
                "verdict": {"outcome": outcome, "headline": f"identity {outcome} [-0.01, +0.07]"},
                "sentence": f"identity {outcome}. It gained.",
            }
            rows.append(
                (
                    number + 1,
                    version[1],
                    version[0],
                    version[4],
                    version[0],
                    "succeeded",
                    json.dumps(summary),
                    version[7],
                )
            )
        self._insert("comparison", "id asset_id version_id baseline_id evaluation_id state summary created_at", rows)
