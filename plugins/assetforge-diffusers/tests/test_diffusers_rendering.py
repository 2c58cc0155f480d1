"""Rendering: the reference pipeline's pixels, one base, LoRAs on and off without a trace."""

import hashlib
import pickle
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler, StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from assetforge.api.job import Cell, LoraRef, RenderSettings
from assetforge.errors import AssetForgeError, NotFoundError, UsageError
from assetforge_diffusers.families.sd15 import StableDiffusion15
from assetforge_diffusers.loading import align_weights
from assetforge_diffusers.params import LoraTrainerParams, RendererParams
from assetforge_diffusers.renderer import DiffusersRenderer
from assetforge_diffusers.trainer import LoraTrainer
from diffusers_world import FolderContext, write_pictures

pytestmark = [  # the reference pipelines' own warnings
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning"),
]

PROMPTS = ("zork robot", "a robot on a hill", "zork robot, rain")


@pytest.fixture(scope="module")
def loras(tmp_path_factory: pytest.TempPathFactory, base_folder: Path) -> Path:
    """A work folder with four trained LoRA files."""
    work = tmp_path_factory.mktemp("loras")
    write_pictures(work / "inputs", 3)
    for name, settings in {
        "one": {"rank": 4, "alpha": 3.0},
        "two": {"rank": 2, "alpha": 5.0, "conv_rank": 2, "dropout": 0.1},
        "text": {"rank": 4, "alpha": 2.0, "text_encoder": True},
    }.items():
        params = LoraTrainerParams(
            steps=3, batch_size=2, learning_rate=3e-2, text_encoder_learning_rate=3e-2, **settings
        )
        run = (
            FolderContext(work / name, base_folder, params)
            if (work / name).exists()
            else _context(work, name, base_folder, params)
        )
        LoraTrainer().train(run)
        for suffix in ("", ".diffusers"):
            (work / f"{name}{suffix}.safetensors").write_bytes(
                (run.outputs / f"zork-v001{suffix}.safetensors").read_bytes()
            )
    return work


def _context(work: Path, name: str, base: Path, params: LoraTrainerParams) -> FolderContext:
    write_pictures(work / name / "inputs", 3)
    return FolderContext(work / name, base, params)


def lora(work: Path, name: str) -> LoraRef:
    file = work / f"{name}.safetensors"
    return LoraRef(name=name, file=file.name, sha256=hashlib.sha256(file.read_bytes()).hexdigest())


def cell(index: int, seed: int = 5, negative: str = "") -> Cell:
    return Cell(index=index, block="core", prompt=PROMPTS[index], negative=negative, seed=seed)


def opened(work: Path, base: Path, **settings) -> DiffusersRenderer:
    renderer = DiffusersRenderer()
    context = FolderContext(work, base, RendererParams(**settings.pop("params", {})))
    renderer.open(
        context.payload.base, RenderSettings(**{"steps": 4, "cfg": 5.0, "width": 32, "height": 32, **settings}), context
    )
    return renderer


def picture(renderer: DiffusersRenderer, wanted: Cell) -> np.ndarray:
    (image,) = renderer.render([wanted])
    return image


def reference(base: Path, wanted: Cell, sampler, cfg: float = 5.0, worn=(), fuse=False) -> np.ndarray:
    pipeline = StableDiffusionPipeline.from_pretrained(base, safety_checker=None)
    pipeline.scheduler = sampler(pipeline.scheduler.config)
    for index, (file, _) in enumerate(worn):
        pipeline.load_lora_weights(file.parent, weight_name=file.name, adapter_name=f"a{index}")
    for module in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        align_weights(module)
    if worn:
        names = [f"a{index}" for index in range(len(worn))]
        pipeline.set_adapters(names, [strength for _, strength in worn])
        if fuse:
            pipeline.fuse_lora(adapter_names=names)
    pipeline.set_progress_bar_config(disable=True)
    made = pipeline(
        wanted.prompt,
        negative_prompt=wanted.negative or None,
        num_inference_steps=4,
        guidance_scale=cfg,
        width=32,
        height=32,
        generator=torch.Generator().manual_seed(wanted.seed),
        output_type="pil",
    )
    return np.asarray(made.images[0])


@pytest.mark.parametrize(
    ("name", "sampler"),
    [
        ("ddim", DDIMScheduler.from_config),
        ("euler", EulerDiscreteScheduler.from_config),
        ("dpm++", lambda config: DPMSolverMultistepScheduler.from_config(config, algorithm_type="dpmsolver++")),
        (
            "DPM++-Karras",
            lambda config: DPMSolverMultistepScheduler.from_config(
                config, algorithm_type="dpmsolver++", use_karras_sigmas=True
            ),
        ),
    ],
)
def test_pixels_are_those_of_the_reference_pipeline(name: str, sampler, loras: Path, base_folder: Path) -> None:
    renderer = opened(loras, base_folder, sampler=name)
    for wanted in (cell(0), cell(1, negative="blurry")):
        assert np.array_equal(picture(renderer, wanted), reference(base_folder, wanted, sampler))
    worn = [(loras / "text.safetensors", 0.7), (loras / "two.safetensors", 1.2)]
    for merge in (True, False):
        renderer = opened(loras, base_folder, sampler=name, params={"merge": "on" if merge else "off"})
        renderer.use([(lora(loras, "text"), 0.7), (lora(loras, "two"), 1.2)])
        expected = reference(base_folder, cell(2), sampler, worn=worn, fuse=merge)
        assert np.array_equal(picture(renderer, cell(2)), expected)


def test_without_guidance(loras: Path, base_folder: Path) -> None:
    assert np.array_equal(
        picture(opened(loras, base_folder, cfg=1.0), cell(0)),
        reference(base_folder, cell(0), DDIMScheduler.from_config, cfg=1.0),
    )


def test_both_forms_render_alike_and_differ_from_the_base(loras: Path, base_folder: Path) -> None:
    renderer = opened(loras, base_folder)
    bare = picture(renderer, cell(0))
    for name in ("one", "two", "text"):
        renderer.use([(lora(loras, name), 1.0)])
        kohya = picture(renderer, cell(0))
        renderer.use([(lora(loras, f"{name}.diffusers"), 1.0)])
        assert np.array_equal(kohya, picture(renderer, cell(0)))
        assert not np.array_equal(kohya, bare)


@pytest.mark.parametrize("merge", ["on", "off"])
def test_strength_zero_and_taking_off_are_the_base_bit_for_bit(merge: str, loras: Path, base_folder: Path) -> None:
    renderer = opened(loras, base_folder, params={"merge": merge})
    weights = {name: tensor.clone() for name, tensor in renderer._now.family.denoiser.state_dict().items()}
    bare = [image.tobytes() for image in renderer.render([cell(0), cell(1)])]
    renderer.use([(lora(loras, "text"), 0.0)])
    assert [image.tobytes() for image in renderer.render([cell(0), cell(1)])] == bare
    renderer.use([(lora(loras, "text"), 1.0), (lora(loras, "two"), 0.5)])
    assert [image.tobytes() for image in renderer.render([cell(0), cell(1)])] != bare
    renderer.use([])
    renderer._now.controls.clear()  # pictures of the base are remembered, and this asks whether they come out again
    assert [image.tobytes() for image in renderer.render([cell(0), cell(1)])] == bare
    after = renderer._now.family.denoiser.state_dict()
    assert after.keys() == weights.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in weights.items())


def test_a_cell_looks_the_same_whatever_came_before(loras: Path, base_folder: Path) -> None:
    plans = [
        (names, cell(index, seed))
        for names in ((), ("one",), ("text",), ("one", "two"), ("two", "text"))
        for index in (0, 1)
        for seed in (1, 2)
    ]
    first: dict[int, bytes] = {}
    for _ in range(3):
        renderer = opened(loras, base_folder, steps=2)
        order = list(range(len(plans)))
        random.shuffle(order)
        for place in order:
            names, wanted = plans[place]
            renderer.use([(lora(loras, name), 0.8) for name in names])
            image = picture(renderer, wanted)
            assert first.setdefault(place, image.tobytes()) == image.tobytes(), (names, wanted)
    assert len(set(first.values())) == len(plans)


def test_many_versions_in_turn_do_not_pile_up(loras: Path, base_folder: Path) -> None:
    renderer = opened(loras, base_folder, steps=1)
    expected: dict[str, bytes] = {}
    tensors = load_file(loras / "text.safetensors")
    names = []
    for index in range(7):
        changed = {key: value * (1 + index) if "lora_up" in key else value for key, value in tensors.items()}
        save_file(changed, loras / f"version-{index}.safetensors")
        names.append(f"version-{index}")
    for name in names:
        renderer.use([(lora(loras, name), 1.0)])
        expected[name] = picture(renderer, cell(0)).tobytes()
    assert len(renderer._now.wardrobe._files) <= 4
    assert len(set(expected.values())) == 7
    for name in reversed(names):
        renderer.use([(lora(loras, name), 1.0)])
        assert picture(renderer, cell(0)).tobytes() == expected[name]


def test_prompts_are_embedded_once(loras: Path, base_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    renderer = opened(loras, base_folder, steps=1, params={"batch_size": 1})
    calls: list[str] = []
    original = StableDiffusion15.tokenize
    monkeypatch.setattr(StableDiffusion15, "tokenize", lambda self, text: (calls.append(text), original(self, text))[1])
    list(renderer.render([cell(0, seed) for seed in range(4)]))
    renderer.use([(lora(loras, "one"), 1.0)])  # leaves the text encoder alone
    list(renderer.render([cell(0, seed) for seed in range(4)]))
    assert calls == [PROMPTS[0], ""]
    renderer.use([(lora(loras, "text"), 1.0)])
    list(renderer.render([cell(0), cell(0, 9)]))
    assert calls == [PROMPTS[0], ""] * 2


def test_the_engine_record_says_what_ran(loras: Path, base_folder: Path) -> None:
    context = FolderContext(loras, base_folder, RendererParams())
    record = DiffusersRenderer().open(
        context.payload.base, RenderSettings(steps=4, cfg=5, width=32, height=32, sampler="euler"), context
    )
    assert record["torch"] == torch.__version__
    assert record["device"] == "cpu"
    assert record["dtype"] == "fp32"
    assert record["threads"] == 1
    assert record["sampler"] == "EulerDiscreteScheduler"
    assert record["base"] == context.payload.base.digest


class _Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('the pickle ran')",))


def test_pickles_and_other_files_are_refused(loras: Path, base_folder: Path, tmp_path: Path) -> None:
    renderer = opened(loras, base_folder, steps=1)
    before = picture(renderer, cell(0))
    bomb = pickle.dumps(_Bomb())
    for name in ("bomb.bin", "bomb.pt", "bomb.safetensors"):
        (loras / name).write_bytes(bomb)
        with pytest.raises(UsageError, match="bomb") as caught:
            renderer.use([(LoraRef(name="bomb", file=name, sha256=name), 1.0)])
        assert caught.value.hint
    with pytest.raises(NotFoundError, match="do not exist"):
        renderer.use([(LoraRef(name="gone", file="gone.safetensors", sha256="gone"), 1.0)])
    save_file({"something.weight": torch.ones(2)}, loras / "other.safetensors")
    with pytest.raises(UsageError, match=r"not a LoRA|holds no layer"):
        renderer.use([(LoraRef(name="other", file="other.safetensors", sha256="other"), 1.0)])
    renderer.use([])
    assert np.array_equal(picture(renderer, cell(0)), before)


def test_a_base_with_pickled_weights_is_refused(base_folder: Path, loras: Path, tmp_path: Path) -> None:
    import shutil

    pickled = shutil.copytree(base_folder, tmp_path / "pickled")
    weights = next((pickled / "unet").glob("*.safetensors"))
    weights.unlink()
    (pickled / "unet" / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(UsageError, match="is a pickle"):
        opened(loras, pickled)
    single = tmp_path / "base.safetensors"
    single.write_bytes(b"")
    with pytest.raises(UsageError, match="not a readable safetensors file"):
        opened(loras, single)
    save_file({"x": torch.zeros(1)}, single)
    with pytest.raises(UsageError, match="single file without settings"):
        opened(loras, single)


def test_a_half_precision_base_is_found_under_its_variant(base_folder: Path, loras: Path, tmp_path: Path) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(base_folder, safety_checker=None, dtype=torch.float16)
    pipeline.save_pretrained(tmp_path / "half", variant="fp16")
    assert picture(opened(loras, tmp_path / "half", steps=1), cell(0)).shape == (32, 32, 3)


def test_settings_that_do_not_fit_are_refused(loras: Path, base_folder: Path) -> None:
    for settings in ({"width": 33}, {"sampler": "magic"}):
        with pytest.raises(AssetForgeError) as caught:
            opened(loras, base_folder, **settings)
        assert caught.value.hint


def test_describing_imports_no_framework() -> None:
    code = (
        "import sys, assetforge_diffusers.plugin as p; p.register_trainers(), p.register_renderers(), p.register_recipes();"
        "bad = {'torch', 'diffusers', 'transformers', 'peft', 'accelerate'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_recipes_are_valid_and_cover_the_asset_types() -> None:
    from assetforge_diffusers.plugin import RENDERER, TRAINER, register_recipes

    recipes = register_recipes()
    assert {(recipe.family, *recipe.asset_types) for recipe in recipes} == {
        (family, asset_type) for family in TRAINER.families for asset_type in ("character", "prop", "style")
    }
    for recipe in recipes:
        TRAINER.params.model_validate(recipe.params)
        assert recipe.trainer == TRAINER.name
        assert recipe.family in TRAINER.families
    for spec in (TRAINER, RENDERER):
        module, _, attribute = spec.load.partition(":")
        assert hasattr(__import__(module, fromlist=[attribute]), attribute)
