"""A plugin with a trainer, a renderer and metrics that need nothing but numpy; found through its dist-info like any installed one."""

import errno
import hashlib
import json
import os
import pathlib
import signal
import time

import numpy as np

from assetforge.api import Params, Stopped, hookimpl, param
from assetforge.api.job import WeightsOutput
from assetforge.api.protocols import TrainResult
from assetforge.api.specs import MetricSpec, RendererSpec, TrainerSpec


class TinyParams(Params):
    steps: int = param(10, "Steps.", ge=1)
    seconds: float = param(0.0, "Seconds per step.")
    save_every: int = param(4, "Steps between checkpoints.")
    fault: str = param("", "What goes wrong.")


class TinyTrainer:
    def train(self, context):
        params, checkpoint = context.params, context.latest_checkpoint()
        step, weights = 0, hashlib.sha256(str(context.seed).encode()).digest()
        if checkpoint:
            step, weights = checkpoint.step, checkpoint.files["w"].read_bytes()
        if params.fault == "raise":
            raise ValueError("no\x1b good")
        if params.fault == "full":
            raise RuntimeError("cannot save") from OSError(errno.ENOSPC, "No space left on device")
        if params.fault == "full-in-words":
            raise RuntimeError("I/O error: No space left on device (os error 28)")
        while step < params.steps:
            step += 1
            weights = hashlib.sha256(weights + b"%d" % step).digest()
            time.sleep(params.seconds)
            context.progress(step, params.steps, loss=float("nan") if params.fault == "nan" else 1 / step)
            if step % params.save_every == 0 or context.should_stop():
                file = context.checkpoint_file(step, "w")
                file.write_bytes(weights)
                if params.fault == "kill" and context.attempt == 1 and step > params.save_every:
                    os.kill(os.getpid(), signal.SIGKILL)
                context.commit_checkpoint(step, {"w": file}, {"rng": [step]})
            if context.should_stop():
                raise Stopped
        context.metric("final", 1.5, step)
        context.log(f"cache {context.cache} device {context.device} threads {context.threads}")
        if params.fault == "no-output":
            return TrainResult(weights=())
        (context.outputs / "w.safetensors").write_bytes(weights)
        (context.outputs / "extra").mkdir()
        (context.outputs / "extra" / "note.txt").write_text(json.dumps(sorted(os.environ)))
        return TrainResult(
            weights=(WeightsOutput(step=step, kohya="outputs/w.safetensors", tensor_hash=weights.hex()),),
            metrics={"loss": 0.5},
            engine={"device": context.device},
        )


class TinyRenderer:
    def __init__(self):
        self.worn = []

    def open(self, base, settings, context):
        self.context, self.settings = context, settings
        context.log("opened")
        return {"renderer": "tiny", "width": settings.width}

    def use(self, loras):
        self.worn = [(lora.name, strength) for lora, strength in loras]
        self.context.log(f"wears {self.worn}")

    def render(self, cells):
        for cell in cells:
            time.sleep(self.context.params.seconds)
            if self.context.params.fault == "shape":
                yield np.zeros((4, 4), np.uint8)
            if self.context.params.fault == "few":
                return
            seed = hashlib.sha256(repr((cell.prompt, cell.seed, self.worn)).encode()).digest()
            rng = np.random.default_rng(list(seed))
            yield rng.integers(0, 255, (self.settings.height, self.settings.width, 3), dtype=np.uint8)

    def close(self):
        self.context.log("closed")


class Means:
    def embed(self, images):
        return np.stack([image.reshape(-1, 3).mean(0) / 255 for image in images]).astype(np.float32)


class Difference:
    def __init__(self, params, context):
        self.power = params.steps
        assert context.workdir.is_dir()

    def compare(self, pairs):
        return [float(np.abs(a.astype(float) - b.astype(float)).mean()) ** self.power for a, b in pairs]


class Brightness:
    def score(self, images):
        return [float(image.mean()) for image in images]


class Counted:
    """Says in the work folder how many pictures it was asked about, and which it was made for."""

    def __init__(self, params, context):
        self.fault, self.calls = params.fault, context.workdir / "calls.txt"
        self.note("made")

    def note(self, line):
        with self.calls.open("a") as stream:
            stream.write(f"{line}\n")

    def embed(self, images):
        self.note(f"embed {len(images)}")
        every = [image.reshape(-1, 3).astype(np.float32) for image in images]
        return np.stack([np.concatenate([rows.mean(0), rows.std(0)]) / 3 for rows in every])

    def compare(self, pairs):
        self.note(f"compare {len(pairs)}")
        return [float(np.abs(a.astype(float) - b.astype(float)).mean() / 3) for a, b in pairs]

    def score(self, images):
        self.note(f"score {len(images)}")
        return [float("nan") if self.fault == "nan" else float(image.mean() / 3) for image in images]

    def follow(self, images, prompts):
        self.note(f"follow {len(images)}")
        return [float(image.mean()) * len(prompt) for image, prompt in zip(images, prompts, strict=True)]


class Weighed(Counted):
    """Multiplies by what its weights file says, which it reads as late as it can."""

    def __init__(self, params, context):
        super().__init__(params, context)
        self.file = pathlib.Path(params.fault)

    def fingerprint(self):
        at = self.file.stat()
        return f"{self.file.name} {at.st_size} {at.st_mtime_ns}"

    def score(self, images):
        return [value * float(self.file.read_text()) for value in super().score(images)]


@hookimpl
def register_trainers():
    return [
        TrainerSpec(
            name="tiny",
            title="Tiny",
            load="tiny_engines:TinyTrainer",
            params=TinyParams,
            families=("none",),
            resumable=True,
        )
    ]


@hookimpl
def register_renderers():
    return [
        RendererSpec(name="tiny", title="Tiny", load="tiny_engines:TinyRenderer", params=TinyParams, families=("none",))
    ]


@hookimpl
def register_metrics():
    return [
        MetricSpec(name="means", title="Means", load="tiny_engines:Means", kind="embedding"),
        MetricSpec(
            name="difference", title="Difference", load="tiny_engines:Difference", kind="pair", params=TinyParams
        ),
        MetricSpec(name="weighed", title="Weighed", load="tiny_engines:Weighed", kind="single", params=TinyParams),
        MetricSpec(name="brightness", title="Brightness", load="tiny_engines:Brightness", kind="single"),
        *(
            MetricSpec(
                name=f"counted-{kind}", title="Counted", load="tiny_engines:Counted", kind=kind, params=TinyParams
            )
            for kind in ("embedding", "pair", "single", "prompt")
        ),
    ]
