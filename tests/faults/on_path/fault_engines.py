"""A trainer that takes its time and writes down which process works in its folder, so that two at once would show."""

import os
import time

from assetforge_example.plugin import FAMILY, LinearTrainerParams
from assetforge_example.trainer import LinearTrainer

from assetforge.api import hookimpl
from assetforge.api.specs import RecipeSpec, TrainerSpec

STEP_S = 0.02


class NotedContext:
    """The context of a job, with a line in ``writers.log`` for every step."""

    def __init__(self, context):
        self._context = context

    def __getattr__(self, name):
        return getattr(self._context, name)

    def note(self, what):
        line = f"{os.getpid()} {self._context.attempt} {time.time()} {what}\n"
        with (self._context.workdir / "writers.log").open("a") as file:
            file.write(line)

    def progress(self, step, total, **figures):
        self.note(f"step {step}")
        time.sleep(STEP_S)
        self._context.progress(step, total, **figures)


class NotedTrainer(LinearTrainer):
    def train(self, context):
        noted = NotedContext(context)
        noted.note("starts")
        result = super().train(noted)
        noted.note("trained")
        return result


@hookimpl
def register_trainers():
    return [
        TrainerSpec(
            name="noted-linear",
            title="Linear, noted",
            summary="The linear example, slower, with a log of its processes.",
            load="fault_engines:NotedTrainer",
            params=LinearTrainerParams,
            families=(FAMILY,),
            resumable=True,
        )
    ]


@hookimpl
def register_recipes():
    return [
        RecipeSpec(
            name="noted",
            title="Linear, noted",
            family=FAMILY,
            trainer="noted-linear",
            asset_types=("costume",),
            base="example-linear",
            params={"steps": 60, "rank": 2, "checkpoint_every": 10},
        )
    ]
