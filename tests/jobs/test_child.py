"""The child process: real engines through the plugin surface, in a real bundle, in a process of their own."""

import hashlib
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from assetforge import agent
from assetforge.api.job import (
    BaseRef,
    Cell,
    EngineRef,
    JobSpec,
    LoraRef,
    RenderPass,
    RenderPayload,
    RenderSettings,
    Result,
    ScoreImage,
    ScorePayload,
    TrainingDataset,
    TrainPayload,
)
from assetforge.api.params import Params
from assetforge.domain.bundle import BundlePlan, InputFile
from assetforge.errors import PluginError, StorageError, UsageError
from assetforge.jobs.bundle import write_bundle
from assetforge.jobs.context import TrainRuntime
from assetforge.testing.executor_contract import read_lines, wait_until

BASE = BaseRef(name="none", family="none", digest="0" * 64)


def engine(kind, name, version="1.0"):
    loads = {
        "trainer": "TinyTrainer",
        "renderer": "TinyRenderer",
        "means": "Means",
        "difference": "Difference",
        "brightness": "Brightness",
    }
    load = f"tiny_engines:{loads.get(name) or loads[kind]}"
    return EngineRef(kind=kind, name=name, version="1", plugin="tiny-engines", plugin_version=version, load=load)


class Work:
    """A work folder and its child processes."""

    def __init__(self, project, spec, inputs=()):
        self.project, self.plan = project, BundlePlan(spec=spec, inputs=tuple(inputs))
        self.workdir = project.paths.job(spec.job)
        self.bundle = write_bundle(self.plan, self.workdir, project.blobs, project.paths.trash)

    def start(self, attempt=1, **env):
        command = [sys.executable, "-m", "assetforge.jobs.child", "."]
        return subprocess.Popen(
            command, cwd=self.workdir, env={**os.environ, "ASSETFORGE_ATTEMPT": str(attempt), **env}
        )

    def run(self, attempt=1, **env):
        return self.start(attempt, **env).wait(60)

    def events(self, kind=""):
        return [event for event in read_lines(self.workdir / "events.jsonl") if kind in ("", event["kind"])]

    def result(self):
        return Result.read(self.workdir / "result.json")


@pytest.fixture
def train(project):
    def make(job=1, version="1.0", **params):
        payload = TrainPayload(
            asset="mara",
            asset_type="character",
            trigger="t",
            class_word="c",
            recipe="r",
            recipe_key="k",
            base=BASE,
            output_name="w",
        )
        spec = JobSpec(
            project=project.id,
            job=job,
            kind="train",
            engine=engine("trainer", "tiny", version),
            params=params,
            seed=5,
            payload=payload.model_dump(mode="json"),
            outputs=("outputs/*.safetensors",),
        )
        dataset = TrainingDataset(address="mara/d1", tree_hash="h", items=())
        return Work(project, spec, [InputFile(path="inputs/dataset.json", data=dataset.model_dump_json().encode())])

    return make


def test_a_training_ends_with_a_result(train):
    work = train(steps=10)
    assert work.run(ASSETFORGE_DEVICE="cpu", ASSETFORGE_THREADS="1") == 0
    result = work.result()
    assert {output.path for output in result.outputs} == {"outputs/w.safetensors", "outputs/extra/note.txt"}
    for output in result.outputs:
        assert output.sha256 == agent.file_digest(work.workdir / output.path)
    assert (result.job, result.attempt, result.metrics, result.engine) == (1, 1, {"loss": 0.5}, {"device": "cpu"})
    kinds = [event["kind"] for event in work.events()]
    assert (kinds[0], kinds[-1]) == ("started", "finished")
    steps = [event["step"] for event in work.events("progress")]
    assert (steps[0], steps[-1]) == (1, 10)
    assert all(event["attempt"] == 1 for event in work.events())


def test_progress_is_told_ten_times_a_second_at_most(train):
    work = train(steps=400, seconds=0.002, save_every=1000)
    assert work.run() == 0
    told = work.events("progress")
    seconds = told[-1]["t"] - told[0]["t"]
    assert len(told) <= seconds * 10 + 3
    assert (told[0]["step"], told[-1]["step"]) == (1, 400)


def test_two_checkpoints_are_kept_and_a_half_one_is_not_believed(train):
    plain, killed = train(1, steps=30), train(2, steps=30, fault="kill")
    assert plain.run() == 0
    assert sorted(path.name for path in (plain.workdir / "checkpoints").iterdir()) == [
        "step-00000024",
        "step-00000024.state.json",
        "step-00000028",
        "step-00000028.state.json",
    ]
    assert killed.run() == -signal.SIGKILL
    assert (killed.workdir / "checkpoints" / "step-00000008" / "w").is_file(), "written, not committed"
    assert killed.run(2) == 0
    assert [event["resumed_from"] for event in killed.events("started")] == [0, 4]
    assert killed.result().weights[0].tensor_hash == plain.result().weights[0].tensor_hash


@pytest.mark.parametrize("how", [pytest.param("signal", marks=pytest.mark.slow), "marker"])
def test_it_stops_when_asked_and_resumes(train, how):
    work = train(steps=300, seconds=0.01)
    child = work.start()
    wait_until(lambda: (work.workdir / "events.jsonl").is_file() and len(work.events("checkpoint")) > 0, "it trains")
    if how == "signal":
        child.send_signal(signal.SIGTERM)
    else:
        agent.cancel_marker(work.workdir, 1).touch()
    assert child.wait(20) == 75
    assert not (work.workdir / "result.json").exists()
    last = work.events("checkpoint")[-1]["step"]
    assert last == work.events("progress")[-1]["step"]
    assert work.run(2) == 0
    assert work.events("started")[-1]["resumed_from"] == last


def test_an_error_is_told_with_its_traceback(train):
    work = train(fault="raise")
    assert work.run() == 1
    (failed,) = work.events("failed")
    assert failed["error"] == "ValueError: no\x1b good"
    assert "tiny_engines.py" in failed["traceback"]
    assert not (work.workdir / "result.json").exists()


@pytest.mark.parametrize("fault", ["full", "full-in-words"])
def test_a_full_disk_is_the_machines_fault_and_can_be_resumed(train, fault):
    work = train(fault=fault)
    assert work.run() == 75
    assert "RuntimeError: " in work.events("interrupted")[0]["error"]
    assert work.events("failed") == []


def test_another_plugin_version_is_refused(train):
    work = train(version="0.9")
    assert work.run() == 1
    assert "planned with tiny-engines 0.9, and 1.0 is installed" in work.events("failed")[0]["error"]


def test_unknown_parameters_and_missing_outputs_are_errors(train):
    assert train(1, colour="red").run() == 1
    assert train(2, fault="no-output").run() == 1


def test_a_loss_that_is_not_a_number_stays_json(train):
    work = train(steps=2, fault="nan")
    assert work.run() == 0
    assert work.events("progress")[0]["loss"] is None


def lora(name):
    return LoraRef(name=name, file="inputs/a.safetensors", sha256="0" * 64)


def render_work(project, job=1, **params):
    cells = tuple(
        Cell(index=number, block="core", prompt=f"p{number % 3}", seed=number, strength=strength)
        for number, strength in enumerate((1.0, 0.0, 1.0, 0.5, 0.0, 1.0))
    )
    beside = tuple(
        Cell(index=number, block="pairs", prompt="p", seed=3, strength=strength)
        for number, strength in enumerate((1.0, 0.0), start=len(cells))
    )
    payload = RenderPayload(
        base=BASE,
        settings=RenderSettings(steps=1, cfg=1, width=12, height=8),
        passes=(
            RenderPass(evaluation=7, lora=lora("mara/v1"), cells=cells),
            RenderPass(evaluation=8, lora=None, cells=cells),
            RenderPass(evaluation=7, lora=lora("mara/v1"), companions=((lora("ink/v1"), 0.7),), cells=beside),
            RenderPass(evaluation=8, lora=None, companions=((lora("ink/v1"), 0.7),), cells=beside[:1]),
        ),
    )
    spec = JobSpec(
        project=project.id,
        job=job,
        kind="render",
        engine=engine("renderer", "tiny"),
        params=params,
        payload=payload.model_dump(mode="json"),
    )
    return Work(project, spec)


def pictures(work):
    return {cell.file: (work.workdir / cell.file).read_bytes() for cell in work.result().cells}


def test_rendering_wears_each_stack_once_and_only_companions_at_strength_0(project):
    work = render_work(project)
    assert work.run() == 0
    said = [event["message"] for event in work.events("log")]
    assert said == [
        "opened",
        "wears [('mara/v1', 1.0)]",
        "wears []",
        "wears [('mara/v1', 0.5)]",
        "wears []",
        "wears [('mara/v1', 1.0), ('ink/v1', 0.7)]",
        "wears [('ink/v1', 0.7)]",
        "wears [('ink/v1', 0.7)]",
        "closed",
    ]
    result = work.result()
    alone = [(e, i) for e in (7, 8) for i in range(6)]
    assert [(cell.evaluation, cell.index) for cell in result.cells] == [*alone, (7, 6), (7, 7), (8, 6)]
    assert {cell.file for cell in result.cells} == {output.path for output in result.outputs}
    assert result.cells[3].file == "outputs/renders/7/3.png"
    made = pictures(work)
    assert made["outputs/renders/7/1.png"] == made["outputs/renders/8/1.png"], "strength 0 is the base control"
    assert made["outputs/renders/7/7.png"] == made["outputs/renders/8/6.png"], "and so it is beside a companion"
    assert made["outputs/renders/7/7.png"] != made["outputs/renders/7/6.png"]
    with Image.open(work.workdir / "outputs/renders/7/0.png") as picture:
        assert picture.size == (12, 8)


def test_rendering_goes_on_where_it_was_killed(project):
    plain, killed = render_work(project, 1), render_work(project, 2, seconds=0.1)
    assert plain.run() == 0
    child = killed.start()
    wait_until(lambda: (killed.workdir / "events.jsonl").is_file() and len(killed.events("sample")) >= 4, "it renders")
    child.kill()
    child.wait()
    done = len(killed.events("sample"))
    (killed.workdir / "outputs/renders/7/0.png").unlink()
    assert killed.run(2) == 0
    assert pictures(killed) == pictures(plain)
    assert len(killed.events("sample")) <= 15 + 2, f"rendered again what {done} samples had shown"
    assert killed.run(3) == 0
    assert [event["message"] for event in killed.events("log") if event["attempt"] == 3] == []


@pytest.mark.parametrize(("fault", "words"), [("shape", "instead of uint8"), ("few", "fewer pictures")])
def test_a_renderer_that_breaks_its_contract_is_named(project, fault, words):
    work = render_work(project, fault=fault)
    assert work.run() == 1
    assert words in work.events("failed")[0]["error"]


def test_scores_of_every_kind(project, make_png, tmp_path):
    files = [make_png(tmp_path / f"{number}.png", seed=number) for number in range(20)]
    shas = [project.blobs.put_file(path)[0] for path in files]
    images = tuple(ScoreImage(key=f"k{number}", file=f"inputs/{number}.png") for number in range(20))
    payload = ScorePayload(
        metrics=tuple(engine("metric", name) for name in ("means", "difference", "brightness")),
        params_list=({}, {"steps": 2}, {}),
        images=images,
        pairs=(("k0", "k1"), ("k2", "k2")),
    )
    spec = JobSpec(project=project.id, job=1, kind="score", payload=payload.model_dump(mode="json"))
    work = Work(project, spec, [InputFile(path=f"inputs/{number}.png", sha256=sha) for number, sha in enumerate(shas)])
    assert work.run() == 0
    scores = work.result().scores
    arrays = [np.asarray(Image.open(path)).astype(float) for path in files]
    assert len(scores["means"]) == len(scores["brightness"]) == 20
    assert scores["means"]["k3"] == pytest.approx(arrays[3].reshape(-1, 3).mean(0) / 255, abs=1e-6)
    assert scores["brightness"]["k19"] == pytest.approx(arrays[19].mean())
    assert scores["difference"] == {"k0|k1": pytest.approx(np.abs(arrays[0] - arrays[1]).mean() ** 2), "k2|k2": 0.0}


def test_bundles_are_canonical_reused_and_replaced(project, train):
    work = train(1, steps=3)
    data = (work.workdir / "job.json").read_bytes()
    assert hashlib.sha256(data).hexdigest() == work.bundle
    assert json.loads(data)["schema"] == "assetforge/job/1"
    (work.workdir / "checkpoints" / "kept").touch()
    assert train(1, steps=3).bundle == work.bundle
    assert (work.workdir / "checkpoints" / "kept").exists(), "an identical bundle is the same folder"
    assert train(1, steps=4).bundle != work.bundle
    assert not (work.workdir / "checkpoints" / "kept").exists(), "another bundle must not resume from it"
    assert len(list(project.paths.trash.iterdir())) == 1
    assert [path.name for path in project.paths.jobs.iterdir()] == ["000001"], "half-made folders were left"


def test_inputs_share_the_bytes_of_the_store(project):
    sha = project.blobs.put_bytes(b"picture")
    plan = JobSpec(project=project.id, job=3, kind="train", payload={})
    work = Work(project, plan, [InputFile(path="inputs/a.png", sha256=sha)])
    assert (work.workdir / "inputs/a.png").stat().st_ino == project.blobs.path(sha).stat().st_ino
    with pytest.raises(StorageError):
        Work(project, plan.model_copy(update={"job": 4}), [InputFile(path="inputs/a.png", sha256="0" * 64)])
    for path in ("a.png", "inputs/../../x", "/inputs/a", "inputs"):
        with pytest.raises(UsageError):
            Work(project, plan.model_copy(update={"job": 5}), [InputFile(path=path, data=b"")])
    assert not project.paths.job(4).exists()


def test_a_child_brings_neither_a_framework_nor_a_database(train):
    work = train(steps=1)
    code = "import sys; from assetforge.jobs.child import main; main(['.']); print(sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=work.workdir, check=True, timeout=60, capture_output=True, text=True
    )
    assert work.result().weights
    for name in ("torch", "diffusers", "transformers", "sqlalchemy", "sqlmodel", "PIL"):
        assert f"'{name}'" not in done.stdout


def test_pictures_on_the_way_are_shown_and_are_no_results(train):
    work = train()
    shown = TrainRuntime(work.workdir, work.plan.spec, 1, Params())
    for step, prompt in ((0, "a lamp"), (0, "mrx"), (40, "a lamp")):
        shown.sample(np.full((8, 6, 3), step, dtype=np.uint8), step, prompt)
    # An attempt that goes on from an older checkpoint draws some of them again.
    TrainRuntime(work.workdir, work.plan.spec, 2, Params()).sample(np.zeros((8, 6, 3), dtype=np.uint8), 40, "a lamp")
    told = [(event["file"], event["step"], event["prompt"]) for event in work.events("sample")]
    first, second, third = (f"samples/step-{name}.png" for name in ("00000000-1", "00000000-2", "00000040-1"))
    assert told == [(first, 0, "a lamp"), (second, 0, "mrx"), (third, 40, "a lamp"), (third, 40, "a lamp")]
    assert sorted(path.name for path in (work.workdir / "samples").iterdir()) == [
        path.removeprefix("samples/") for path in (first, second, third)
    ]
    with Image.open(work.workdir / third) as picture:
        assert (picture.size, picture.mode, picture.getpixel((0, 0))) == ((6, 8), "RGB", (0, 0, 0))
    with pytest.raises(PluginError, match="The trainer gave an array of float32"):
        shown.sample(np.zeros((8, 6, 3), dtype=np.float32), 41)
