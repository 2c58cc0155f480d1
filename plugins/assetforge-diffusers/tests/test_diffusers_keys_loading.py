"""A file that is written for other tools changes a pipeline of diffusers exactly as it was trained."""

import diffusers
import pytest
import torch
import transformers
from keys_world import ADAPTED, change, lora
from safetensors.torch import save_file

from assetforge_diffusers.keys import Layer, to_kohya


def unet(**settings):
    return diffusers.UNet2DConditionModel(
        **{
            "block_out_channels": (4, 8),
            "layers_per_block": 2,
            "sample_size": 8,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            "cross_attention_dim": 8,
            "attention_head_dim": 2,
            "norm_num_groups": 2,
        }
        | settings
    )


def clip(kind="CLIPTextModel"):
    cls = getattr(transformers, kind)
    return cls(
        cls.config_class(
            hidden_size=8,
            intermediate_size=12,
            num_hidden_layers=2,
            num_attention_heads=2,
            vocab_size=20,
            projection_dim=8,
            max_position_embeddings=8,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    )


def stable_diffusion(**settings):
    return diffusers.StableDiffusionPipeline(
        vae=None,
        text_encoder=clip(),
        tokenizer=None,
        unet=unet(**settings),
        scheduler=diffusers.DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def stable_diffusion_xl():
    return diffusers.StableDiffusionXLPipeline(
        vae=None,
        text_encoder=clip(),
        text_encoder_2=clip("CLIPTextModelWithProjection"),
        tokenizer=None,
        tokenizer_2=None,
        unet=unet(
            block_out_channels=(4, 8, 8),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 1, 2),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=2,
            projection_class_embeddings_input_dim=20,
        ),
        scheduler=diffusers.DDIMScheduler(steps_offset=1, clip_sample=False),
    )


def StableDiffusion3(**components):  # noqa: N802 - stands for the class
    empty = ("text_encoder_2", "text_encoder_3", "tokenizer_2", "tokenizer_3")
    return diffusers.StableDiffusion3Pipeline(**components, **dict.fromkeys(empty))


def flux():
    """One double and one single block as wide as they are published, which diffusers takes for granted."""
    with torch.device("meta"):
        transformer = diffusers.FluxTransformer2DModel(num_layers=1, num_single_layers=1)
    return diffusers.FluxPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=None,
        text_encoder=clip(),
        tokenizer=None,
        text_encoder_2=None,
        tokenizer_2=None,
        transformer=transformer.to_empty(device="cpu"),  # memory that is never touched
    )


def over(pipeline, transformer):
    """A pipeline of only a denoiser."""
    return pipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=None,
        text_encoder=None,
        tokenizer=None,
        transformer=transformer,
    )


def flux2():
    return over(
        diffusers.Flux2Pipeline,
        diffusers.Flux2Transformer2DModel(
            in_channels=4,
            num_layers=2,
            num_single_layers=2,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=12,
            timestep_guidance_channels=8,
            axes_dims_rope=(2, 2, 2, 2),
        ),
    )


def qwen_image():
    return over(
        diffusers.QwenImagePipeline,
        diffusers.QwenImageTransformer2DModel(
            in_channels=4,
            out_channels=1,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=12,
            axes_dims_rope=(2, 2, 4),
        ),
    )


def z_image():
    return over(
        diffusers.ZImagePipeline,
        diffusers.ZImageTransformer2DModel(
            in_channels=4,
            dim=16,
            n_layers=2,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=12,
            axes_dims=[4, 2, 2],
            axes_lens=[8, 8, 8],
        ),
    )


def wan(**settings):
    return over(
        diffusers.WanPipeline,
        diffusers.WanTransformer3DModel(
            num_attention_heads=2, attention_head_dim=8, text_dim=12, freq_dim=8, ffn_dim=20, num_layers=2, **settings
        ),
    )


def layers_of(pipe, family, components, **settings):
    layers = []
    for component in components:
        endings = ADAPTED[family]
        if component.startswith("text_encoder"):
            endings = ("q_proj", "k_proj", "v_proj", "out_proj", "mlp.fc1", "mlp.fc2")
        layers += [
            lora(component, path, tuple(module.weight.shape), **settings)
            for path, module in getattr(pipe, component).named_modules()
            if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)
            and path.endswith(tuple(f".{ending}" for ending in endings))
            and any(part.isdigit() for part in path.split("."))
        ]
    return layers


def load(pipe, tensors, folder):
    save_file(tensors, folder / "lora.safetensors")
    pipe.load_lora_weights(folder, weight_name="lora.safetensors")


def difference(pipe, layers):
    """The largest difference between what the pipeline was given and what was trained, over all layers that have an adapter."""
    worst = 0.0
    loaded = set()
    for component in {layer.component for layer in layers}:
        for path, module in getattr(pipe, component).named_modules():
            if path and getattr(module, "lora_A", None):
                loaded.add((component, path))
    assert loaded >= {(layer.component, layer.path) for layer in layers}
    for layer in layers:
        module = getattr(pipe, layer.component).get_submodule(layer.path)
        (name,) = module.lora_A
        down, up = (part[name].weight.detach().double() for part in (module.lora_A, module.lora_B))
        loaded_layer = Layer(
            "", "", {"lora_A.weight": down, "lora_B.weight": up}, module.scaling[name] * len(down), len(down)
        )
        worst = max(worst, float((change(loaded_layer) - change(layer)).abs().max()))
        loaded.discard((layer.component, layer.path))
    for component, path in loaded:
        module = getattr(pipe, component).get_submodule(path)
        assert not any(weight.weight.any() for weight in module.lora_B.values()), path
    return worst


@pytest.mark.parametrize(
    ("family", "build", "components"),
    [
        ("sd15", stable_diffusion, ("unet", "text_encoder")),
        ("sd2", lambda: stable_diffusion(use_linear_projection=True), ("unet", "text_encoder")),
        ("sdxl", stable_diffusion_xl, ("unet", "text_encoder", "text_encoder_2")),
    ],
)
@pytest.mark.parametrize(("rank", "alpha"), [(4, 2.0), (3, 1.0), (2, 8.0)])
def test_diffusers_loads_unets_exactly(family, build, components, rank, alpha, tmp_path):
    pipe = build()
    layers = layers_of(pipe, family, components, rank=rank, alpha=alpha)
    load(pipe, to_kohya(family, layers), tmp_path)
    assert {layer.component for layer in layers} == set(components)
    assert difference(pipe, layers) == 0.0


def test_diffusers_loads_layers_of_different_rank_and_alpha_exactly(tmp_path):
    pipe = stable_diffusion_xl()
    layers = layers_of(pipe, "sdxl", ("unet",), rank=4, alpha=1.0)
    layers += layers_of(pipe, "sdxl", ("text_encoder", "text_encoder_2"), rank=2, alpha=1.0)
    layers = [
        lora(layer.component, layer.path, tuple(pipe.unet.get_submodule(layer.path).weight.shape), rank=8, alpha=3.0)
        if "conv" in layer.path
        else layer
        for layer in layers
    ]
    load(pipe, to_kohya("sdxl", layers), tmp_path)
    assert difference(pipe, layers) == 0.0


@pytest.mark.parametrize("leave_out", ["", "proj_mlp", "to_k"])
@pytest.mark.parametrize(("rank", "alpha"), [(4, 2.0), (3, 6.0)])
def test_diffusers_loads_flux1_exactly(leave_out, rank, alpha, tmp_path):
    pipe = flux()
    layers = layers_of(pipe, "flux1", ("transformer", "text_encoder"), rank=rank, alpha=alpha)
    layers = [layer for layer in layers if not leave_out or not layer.path.endswith(leave_out)]
    load(pipe, to_kohya("flux1", layers), tmp_path)
    assert difference(pipe, layers) == 0.0


def test_diffusers_leaves_out_the_second_text_encoder_of_flux1(tmp_path):
    pipe = flux()
    layers = layers_of(pipe, "flux1", ("transformer",))
    t5 = lora("text_encoder_2", "encoder.block.0.layer.0.SelfAttention.q", (8, 8))
    load(pipe, to_kohya("flux1", [*layers, t5]), tmp_path)
    assert difference(pipe, layers) == 0.0


@pytest.mark.parametrize(
    ("family", "build"),
    [
        ("qwen-image", qwen_image),
        ("z-image", z_image),
        ("wan", wan),
        ("wan", lambda: wan(image_dim=8, added_kv_proj_dim=16)),
        ("flux2", flux2),
    ],
)
@pytest.mark.parametrize(("rank", "alpha"), [(4, 2.0), (3, 6.0), (6, 3.0)])
def test_diffusers_loads_transformers_exactly(family, build, rank, alpha, tmp_path):
    pipe = build()
    layers = layers_of(pipe, family, ("transformer",), rank=rank, alpha=alpha)
    load(pipe, to_kohya(family, layers), tmp_path)
    assert len(layers) >= 20
    assert difference(pipe, layers) == 0.0


@pytest.mark.parametrize(("family", "build"), [("qwen-image", qwen_image), ("z-image", z_image), ("flux2", flux2)])
def test_diffusers_loads_attention_alone_exactly(family, build, tmp_path):
    pipe = build()
    layers = [layer for layer in layers_of(pipe, family, ("transformer",)) if ".to_" in layer.path]
    load(pipe, to_kohya(family, layers), tmp_path)
    assert difference(pipe, layers) == 0.0


@pytest.mark.parametrize(("family", "build"), [("z-image", z_image), ("flux2", flux2)])
def test_diffusers_loads_lokr_of_transformers(family, build, tmp_path):
    torch.manual_seed(0)
    pipe = build()
    layers = []
    for layer in layers_of(pipe, family, ("transformer",)):
        out, into = pipe.transformer.get_submodule(layer.path).weight.shape
        tensors = {
            "lokr_w1": torch.randn(2, 2),
            "lokr_w2_a": torch.randn(out // 2, 1),
            "lokr_w2_b": torch.randn(1, into // 2),
        }
        layers.append(Layer(layer.component, layer.path, tensors, 0.5, 1))
    load(pipe, to_kohya(family, layers), tmp_path)
    for layer in layers:
        (got,) = [
            module.get_delta_weight(name)
            for module in [pipe.transformer.get_submodule(layer.path)]
            for name in module.lokr_w1
        ]
        second = layer.tensors["lokr_w2_a"] @ layer.tensors["lokr_w2_b"]
        torch.testing.assert_close(got.detach(), torch.kron(layer.tensors["lokr_w1"], second) * 0.5)


def test_diffusers_needs_its_own_form_for_a_part_of_wan_and_for_sd3(tmp_path):
    pipe = wan()
    layers = [layer for layer in layers_of(pipe, "wan", ("transformer",)) if ".to_" in layer.path]
    with pytest.raises(KeyError):
        load(pipe, to_kohya("wan", layers), tmp_path)
    pipe = over(StableDiffusion3, diffusers.SD3Transformer2DModel(sample_size=4, num_layers=1, num_attention_heads=1))
    load(pipe, to_kohya("sd3", layers_of(pipe, "sd3", ("transformer",))), tmp_path)
    assert not pipe.get_active_adapters()
