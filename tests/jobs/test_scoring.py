"""Scoring in a child process: which pictures a metric sees, and what is not scored twice."""

import hashlib
import os
import resource
import sqlite3
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from assetforge.api.job import EngineRef, JobSpec, Result, ScoreImage, ScorePayload
from assetforge.domain.bundle import BundlePlan, InputFile
from assetforge.jobs.bundle import write_bundle
from assetforge.jobs.score_cache import ScoreCache, content_key
from assetforge.testing.executor_contract import read_lines

KINDS = ("embedding", "pair", "single", "prompt")


def metric(kind):
    return EngineRef(
        kind="metric",
        name="weighed" if kind == "weighed" else f"counted-{kind}",
        version="1",
        plugin="tiny-engines",
        plugin_version="1.0",
        load="tiny_engines:Weighed" if kind == "weighed" else "tiny_engines:Counted",
    )


class Scoring:
    """Score jobs of one film over the same pictures."""

    def __init__(self, project, make_png, folder):
        self.project, self.jobs = project, 0
        self.files = [make_png(folder / f"{number}.png", seed=number) for number in range(20)]
        self.shas = [project.blobs.put_file(path)[0] for path in self.files]
        self.cache = project.paths.root / "score-cache"

    def images(self, prompt="on the left", hashed=True):
        keys = [*(f"new/{n:04d}" for n in range(9)), *(f"control/{n:04d}" for n in range(9)), "ref/a", "train/b"]
        return tuple(
            ScoreImage(
                key=key,
                file=f"inputs/{number}.png",
                sha256=sha if hashed else "",
                prompt=prompt if key.startswith(("new", "control/0000")) else "",
            )
            for number, (key, sha) in enumerate(zip(keys, self.shas, strict=True))
        )

    def prepare(self, *, kinds=KINDS, params=None, sides=(), **about):
        self.jobs += 1
        payload = ScorePayload(
            metrics=tuple(metric(kind) for kind in kinds),
            params_list=tuple(params or {} for _ in kinds),
            images=self.images(**about),
            pairs=tuple((f"new/{n:04d}", f"control/{n:04d}") for n in range(9)),
            sides=sides,
        )
        spec = JobSpec(project=self.project.id, job=self.jobs, kind="score", payload=payload.model_dump(mode="json"))
        inputs = [InputFile(path=f"inputs/{number}.png", sha256=sha) for number, sha in enumerate(self.shas)]
        workdir = self.project.paths.job(self.jobs)
        write_bundle(BundlePlan(spec=spec, inputs=tuple(inputs)), workdir, self.project.blobs, self.project.paths.trash)
        return workdir

    def start(self, workdir, cached=True, **options):
        env = {**os.environ, **({"ASSETFORGE_CACHE": str(self.cache)} if cached else {})}
        return subprocess.Popen([sys.executable, "-m", "assetforge.jobs.child", "."], cwd=workdir, env=env, **options)

    def run(self, *, cached=True, options=None, **about):
        workdir = self.prepare(**about)
        assert self.start(workdir, cached, **(options or {})).wait(60) == 0, read_lines(workdir / "events.jsonl")[-1]
        calls = workdir / "calls.txt"
        said = [event["message"] for event in read_lines(workdir / "events.jsonl") if event["kind"] == "log"]
        return (
            Result.read(workdir / "result.json").scores,
            calls.read_text().split("\n") if calls.exists() else [],
            said,
        )

    def caches(self):
        return sorted((self.cache / "scores").glob("*.sqlite"))


@pytest.fixture
def scoring(project, make_png, tmp_path):
    return Scoring(project, make_png, tmp_path / "pictures")


def test_a_metric_sees_its_sides_only_and_prompts_need_a_prompt(scoring):
    sides = (("new", "ref"), ("new", "control"), (), ("new", "control"))
    scores, calls, _ = scoring.run(sides=sides)
    assert list(scores["counted-embedding"]) == [*(f"new/{n:04d}" for n in range(9)), "ref/a"]
    assert len(scores["counted-pair"]) == 9
    assert len(scores["counted-single"]) == 20
    assert list(scores["counted-prompt"]) == [*(f"new/{n:04d}" for n in range(9)), "control/0000"]
    assert [line for line in calls if line.startswith("follow")] == ["follow 10"]
    picture = np.asarray(Image.open(scoring.files[3]).convert("RGB"))
    assert scores["counted-prompt"]["new/0003"] == float(picture.mean()) * len("on the left")
    scores, _, _ = scoring.run(kinds=("pair",), sides=(("new",),))
    assert scores["counted-pair"] == {}, "both pictures of a pair must be among them"


def test_the_second_scoring_runs_no_metric_and_gives_the_same_bits(scoring):
    plain, calls, _ = scoring.run(cached=False)
    assert sorted(calls) == sorted(
        ["", *["made"] * 4, "embed 16", "embed 4", "compare 9", "score 16", "score 4", "follow 10"]
    )
    first, _, _ = scoring.run()
    again, calls, said = scoring.run()
    assert plain == first == again
    assert calls == []
    assert "counted-embedding: 20 scores, 20 of them known already" in said
    assert len(scoring.caches()) == 4


def test_other_prompts_parameters_and_unknown_hashes_are_scored(scoring):
    scoring.run()
    assert scoring.run(prompt="on the right")[1] == ["made", "follow 10", ""]
    assert len(scoring.run(params={"steps": 11})[1]) == 11, "other parameters are another cache"
    assert len(scoring.caches()) == 8
    assert len(scoring.run(hashed=False)[1]) == 11, "a picture whose hash is not known is scored every time"


def test_scores_do_not_outlive_the_weights_they_were_made_with(scoring, tmp_path):
    weights = tmp_path / "weights.txt"
    about = {"kinds": ("weighed",), "params": {"fault": str(weights)}}
    weights.write_text("2")
    first, calls, _ = scoring.run(**about)
    assert calls == ["made", "score 16", "score 4", ""]
    again, calls, said = scoring.run(**about)
    assert (again, calls) == (first, ["made", ""]), "asked for its fingerprint, and for no score"
    assert "weighed: 20 scores, 20 of them known already" in said
    weights.write_text("3")
    other, calls, _ = scoring.run(**about)
    assert calls == ["made", "score 16", "score 4", ""]
    assert other["weighed"]["new/0000"] == pytest.approx(1.5 * first["weighed"]["new/0000"])
    assert len(scoring.caches()) == 2


def test_weights_that_are_gone_are_no_reason_to_believe_what_they_said(scoring, tmp_path):
    weights = tmp_path / "weights.txt"
    weights.write_text("2")
    about = {"kinds": ("weighed",), "params": {"fault": str(weights)}}
    scoring.run(**about)
    weights.unlink()
    workdir = scoring.prepare(**about)
    assert scoring.start(workdir, stderr=subprocess.DEVNULL).wait(60) == 1
    assert "weights.txt" in read_lines(workdir / "events.jsonl")[-1]["error"]


def test_what_is_not_a_number_is_remembered_as_such(scoring):
    first = scoring.run(kinds=("single",), params={"fault": "nan"})[0]
    again, calls, _ = scoring.run(kinds=("single",), params={"fault": "nan"})
    assert calls == []
    assert all(np.isnan(value) for scores in (first, again) for value in scores["counted-single"].values())


@pytest.mark.parametrize(
    "damage",
    ["truncated", "flipped", *(pytest.param(one, marks=pytest.mark.slow) for one in ("garbage", "empty", "no table"))],
)
def test_a_damaged_cache_is_thrown_away(scoring, damage):
    first = scoring.run(kinds=("embedding",))[0]
    (path,) = scoring.caches()
    data = path.read_bytes()
    if damage == "no table":
        with sqlite3.connect(path) as database:
            database.execute("DROP TABLE scores")
            database.execute("CREATE TABLE scores (key TEXT)")
        database.close()
    else:
        middle = len(data) // 2
        flipped = data[:100] + bytes(byte ^ 255 for byte in data[100:])
        path.write_bytes(
            {"garbage": b"\x00rubbish" * 999, "truncated": data[:middle], "empty": b"", "flipped": flipped}[damage]
        )
    scores, calls, said = scoring.run(kinds=("embedding",))
    assert scores == first
    assert calls == ["made", "embed 16", "embed 4", ""]
    assert damage == "empty" or any("was damaged and is begun anew" in line for line in said)
    assert scoring.run(kinds=("embedding",))[1] == []


def test_a_damaged_value_is_not_believed(scoring):
    first = scoring.run(kinds=("single",))[0]
    (path,) = scoring.caches()
    with sqlite3.connect(path) as database:
        value = database.execute("SELECT value FROM scores WHERE key = ?", (scoring.shas[0],)).fetchone()[0]
        wrong = value[:-1] + bytes([value[-1] ^ 1])
        database.execute("UPDATE scores SET value = ? WHERE key = ?", (wrong, scoring.shas[0]))
    database.close()
    scores, calls, _ = scoring.run(kinds=("single",))
    assert scores == first
    assert calls == ["made", "score 1", ""]


def test_two_processes_share_a_new_cache(scoring):
    workdirs = [scoring.prepare() for _ in range(4)]
    children = [scoring.start(workdir) for workdir in workdirs]
    assert [child.wait(60) for child in children] == [0] * 4
    results = [Result.read(workdir / "result.json").scores for workdir in workdirs]
    assert all(scores == results[0] for scores in results)
    said = [event.get("message", "") for workdir in workdirs for event in read_lines(workdir / "events.jsonl")]
    assert not [line for line in said if "cannot be used" in line or "damaged" in line]
    assert scoring.run()[1] == []


def test_a_disk_without_room_for_the_cache_does_not_stop_scoring(scoring):
    plain = scoring.run(cached=False)[0]

    def little_room():
        # As a full disk does, this fails writing; results of these few pictures are smaller.
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    scores, _, said = scoring.run(options={"preexec_fn": little_room})
    assert scores == plain
    assert any("scoring goes on without it" in line for line in said)


def test_a_folder_that_cannot_be_made_does_not_stop_scoring(scoring):
    scoring.cache.write_text("a file")
    assert len(scoring.run()[0]) == 4


def test_a_damaged_cache_in_use_elsewhere_is_left_alone(tmp_path):
    said = []
    mine = ScoreCache(lambda: tmp_path, "a.sqlite", said.append)
    mine.put({"k": 0.1})
    path = tmp_path / "scores" / "a.sqlite"
    with path.open("r+b") as stream:
        stream.write(b"rubbish " * 200)
    other = ScoreCache(lambda: tmp_path, "a.sqlite", said.append)
    assert other.get(["k"]) in ({}, {"k": 0.1})
    assert path.exists()
    assert not any("begun anew" in line for line in said)
    for cache in (mine, other):
        cache.close()
    fresh = ScoreCache(lambda: tmp_path, "a.sqlite", said.append)
    fresh.put({"k": 0.2})
    assert fresh.get(["k"]) == {"k": 0.2}
    fresh.close()


def test_values_come_back_bit_for_bit(tmp_path):
    cache = ScoreCache(lambda: tmp_path, "a.sqlite", print)
    single = float(np.float32(1) / np.float32(3))
    values = {"a": 1 / 3, "b": [single, -0.0], "c": [1 / 3, 1e300], "d": [], "e": float("inf"), "f": [5e-324], "": 1.0}
    cache.put(values)
    del values[""]
    assert repr(cache.get([*values, "unknown", ""])) == repr(values)
    sizes = {key: len(value) for key, value in cache._execute("SELECT key, value FROM scores", ())}
    assert (sizes["a"], sizes["b"]) == (9, 9), "numbers of single precision take half the room"
    cache.close()


def test_keys_tell_content_prompts_and_pairs_apart():
    one, two = (hashlib.sha256(bytes([number])).hexdigest() for number in (1, 2))
    keys = {content_key([one]), content_key([one], "p"), content_key([one], "q"), content_key([one, two])}
    assert len({*keys, content_key([two, one])}) == 5
    assert content_key([one, ""]) == content_key([""]) == ""
