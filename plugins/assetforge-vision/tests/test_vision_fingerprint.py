"""Weights that were replaced are other weights: fingerprints of all metrics, and what becomes of scores that are known."""

import os

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from assetforge.api.job import EngineRef, JobSpec, ScoreImage, ScorePayload
from assetforge.api.params import Params
from assetforge.domain.bundle import BundlePlan, InputFile
from assetforge.errors import NotFoundError
from assetforge.extension.registry import get_registry, load, reset_registry
from assetforge.jobs.bundle import write_bundle
from assetforge.jobs.child_score import score_images
from assetforge.jobs.context import JobRuntime
from assetforge.jobs.score_cache import ScoreCache
from assetforge_vision.plugin import METRICS
from assetforge_vision.weights import WEIGHTS, fingerprint
from vision_world import clip_folder, picture


def laid(models, metric):
    """Small files in the place of a metric's own; gives those by name."""
    folder, found = models / WEIGHTS[metric].folder, {}
    folder.mkdir(exist_ok=True)
    for names in WEIGHTS[metric].files:
        file = folder / names.partition("|")[0]
        if file.suffix == ".safetensors":
            save_file({"x": np.zeros(4, np.float32)}, file)
        else:
            file.write_text("{}")
        found[file.name] = file
    return found


def replaced(file):
    """Other bytes of the same size, put in their place as copying with times kept does."""
    before, other = file.stat(), file.with_name("other")
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    other.write_bytes(data)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file)
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


@pytest.mark.parametrize("spec", METRICS, ids=lambda spec: spec.name)
def test_every_metric_tells_its_weights_from_others_without_a_network(models, spec):
    with pytest.raises(NotFoundError):
        load(spec.load)().fingerprint()
    files = laid(models, spec.name)
    metric = load(spec.load)()
    told = metric.fingerprint()
    assert told == metric.fingerprint() == load(spec.load)().fingerprint() == fingerprint(spec.name)
    (models / WEIGHTS[spec.name].folder / "README.md").write_text("what it is")
    assert metric.fingerprint() == told
    for file in files.values():
        if file.suffix != ".json":
            replaced(file)
            assert metric.fingerprint() != told, file
            told = metric.fingerprint()
    assert "network" not in vars(metric)


def test_settings_words_and_parts_beside_a_model_count_too(models):
    folder = laid(models, "clip-image")["config.json"].parent
    told = [fingerprint("clip-image")]
    for name in ("preprocessor_config.json", "merges.txt", "model-00002-of-00002.safetensors"):
        (folder / name).write_bytes(b"{}")
        told.append(fingerprint("clip-image"))
    assert len({*told}) == 4


def test_a_place_that_was_chosen_is_the_one_that_counts(models, tmp_path):
    own = laid(models, "csd")["model.safetensors"]
    chosen = tmp_path / "model.safetensors"
    chosen.write_bytes(own.read_bytes())
    spec = next(spec for spec in METRICS if spec.name == "csd")
    metric = load(spec.load)(spec.params(weights=str(chosen)))
    told = metric.fingerprint()
    assert told != fingerprint("csd")
    replaced(own)
    assert metric.fingerprint() == told
    replaced(chosen)
    assert metric.fingerprint() != told


class Scoring:
    """Score jobs of clip-image over four pictures."""

    def __init__(self, project, folder):
        self.project, self.jobs, self.shas = project, 0, []
        for number in range(4):
            file = folder / f"{number}.png"
            Image.fromarray(picture(number)).save(file)
            self.shas.append(project.blobs.put_file(file)[0])

    def run(self):
        """Scores, and how many of them were known already."""
        self.jobs += 1
        entry = get_registry().metric("clip-image")
        ref = EngineRef(
            kind="metric",
            name="clip-image",
            version=entry.plugin_version,
            plugin=entry.plugin,
            plugin_version=entry.plugin_version,
            load=entry.spec.load,
        )
        images = tuple(
            ScoreImage(key=f"new/{n:04d}", file=f"inputs/{n}.png", sha256=sha) for n, sha in enumerate(self.shas)
        )
        payload = ScorePayload(metrics=(ref,), params_list=({},), images=images, pairs=())
        spec = JobSpec(project=self.project.id, job=self.jobs, kind="score", payload=payload.model_dump(mode="json"))
        inputs = tuple(InputFile(path=f"inputs/{n}.png", sha256=sha) for n, sha in enumerate(self.shas))
        workdir = self.project.paths.job(self.jobs)
        write_bundle(BundlePlan(spec=spec, inputs=inputs), workdir, self.project.blobs, self.project.paths.trash)
        return score_images(JobRuntime(workdir, spec, 1, Params()))["clip-image"]


def test_replaced_weights_are_scored_with_and_untouched_ones_are_not(models, assetforge_project, tmp_path, monkeypatch):
    monkeypatch.setenv("ASSETFORGE_PLUGINS", "vision")
    monkeypatch.setenv("ASSETFORGE_CACHE", str(tmp_path / "cache"))
    reset_registry()
    known, get = [], ScoreCache.get
    monkeypatch.setattr(ScoreCache, "get", lambda self, keys: known.append(get(self, keys)) or known[-1])
    weights = clip_folder(models / "clip") / "model.safetensors"
    scoring = Scoring(assetforge_project, tmp_path)
    first = scoring.run()
    assert scoring.run() == first
    assert [len(one) for one in known] == [0, 4]
    tensors = load_file(weights)
    save_file(
        {name: np.asarray(tensor * np.float32(1.5)) for name, tensor in tensors.items()},
        weights,
        metadata={"format": "pt"},
    )
    other = scoring.run()
    assert len(known[-1]) == 0
    assert max(abs(a - b) for a, b in zip(first["new/0000"], other["new/0000"], strict=True)) > 1e-3
    assert scoring.run() == other
    assert len(known[-1]) == 4
    reset_registry()
