"""Single-file checkpoints: what the names and shapes of the tensors say about the model.

Names are those of the original code of each family, with or without ``model.diffusion_model.`` in front, and those of diffusers.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["CheckpointFacts", "TensorTable", "read_checkpoint_facts"]

TensorTable = Mapping[str, tuple[str, tuple[int, ...]]]
"""Name to (dtype, shape) of every tensor in a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFacts:
    """What a checkpoint is.

    Attributes:
        family: Model family; empty when it is none that is known.
        refusal: Why nothing can be trained on it, as the end of a sentence that begins with the file; empty when there is no reason.
        components: What it holds, by the names of a diffusers folder: ``unet`` or ``transformer``, ``vae``, ``text_encoder`` ...
        settings: What its tensors say about settings of the denoiser that differ between members of a family, by their names in ``config.json``.
    """

    family: str = ""
    refusal: str = ""
    components: frozenset[str] = frozenset()
    settings: Mapping[str, int | bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """One way in which a family's denoiser is written.

    Attributes:
        family: Empty where more than the layout decides it.
        marks: Tensors that all are there.
        inlet: Weights of the layer that takes the noisy picture.
        outlet: Weights of the layer that gives the answer.
        blocks: Setting to the beginning of the names of the blocks that it counts.
        guidance: Beginning of the names that are there when the strength of guidance is an input; empty when the family knows no such difference.
        beyond: Beginnings of names of parts that take more than a prompt.
    """

    family: str
    marks: tuple[str, ...]
    inlet: str
    outlet: str
    blocks: Mapping[str, str] = field(default_factory=dict)
    guidance: str = ""
    beyond: tuple[str, ...] = ()


_FLUX_BLOCKS = {"num_layers": "double_blocks.", "num_single_layers": "single_blocks."}
_FLUX_BLOCKS_DIFFUSERS = {"num_layers": "transformer_blocks.", "num_single_layers": "single_transformer_blocks."}
_WAN_BEYOND = ("vace_", "img_emb.", "control_adapter.", "face_adapter.", "motion_encoder.", "audio_", "casual_audio_")

_LAYOUTS = (
    _Layout(
        family="flux2",
        marks=("double_stream_modulation_img.lin.weight", "double_blocks.0.img_attn.qkv.weight"),
        inlet="img_in.weight",
        outlet="final_layer.linear.weight",
        blocks=_FLUX_BLOCKS,
        guidance="guidance_in.",
    ),
    _Layout(
        family="flux2",
        marks=("double_stream_modulation_img.linear.weight", "single_transformer_blocks.0.attn.to_qkv_mlp_proj.weight"),
        inlet="x_embedder.weight",
        outlet="proj_out.weight",
        blocks=_FLUX_BLOCKS_DIFFUSERS,
        guidance="time_guidance_embed.guidance_embedder.",
    ),
    _Layout(
        family="flux1",
        marks=("double_blocks.0.img_attn.qkv.weight", "vector_in.in_layer.weight"),
        inlet="img_in.weight",
        outlet="final_layer.linear.weight",
        blocks=_FLUX_BLOCKS,
        guidance="guidance_in.",
    ),
    _Layout(
        family="flux1",
        marks=("single_transformer_blocks.0.attn.to_q.weight", "time_text_embed.text_embedder.linear_1.weight"),
        inlet="x_embedder.weight",
        outlet="proj_out.weight",
        blocks=_FLUX_BLOCKS_DIFFUSERS,
        guidance="time_text_embed.guidance_embedder.",
    ),
    _Layout(
        family="sd3",
        marks=("joint_blocks.0.context_block.attn.qkv.weight", "context_embedder.weight"),
        inlet="x_embedder.proj.weight",
        outlet="final_layer.linear.weight",
        blocks={"num_layers": "joint_blocks."},
    ),
    _Layout(
        family="sd3",
        marks=("transformer_blocks.0.attn.add_q_proj.weight", "context_embedder.weight"),
        inlet="pos_embed.proj.weight",
        outlet="proj_out.weight",
        blocks={"num_layers": "transformer_blocks."},
    ),
    _Layout(
        family="qwen-image",
        marks=("transformer_blocks.0.attn.add_q_proj.weight", "txt_norm.weight"),
        inlet="img_in.weight",
        outlet="proj_out.weight",
        blocks={"num_layers": "transformer_blocks."},
        beyond=("time_text_embed.addition_t_embedding.",),
    ),
    _Layout(
        family="z-image",
        marks=("layers.0.adaLN_modulation.0.weight", "cap_embedder.1.weight"),
        inlet="x_embedder.weight",
        outlet="final_layer.linear.weight",
        blocks={"n_layers": "layers."},
        beyond=("siglip_",),
    ),
    _Layout(
        family="z-image",
        marks=("layers.0.adaLN_modulation.0.weight", "cap_embedder.1.weight"),
        inlet="all_x_embedder.2-1.weight",
        outlet="all_final_layer.2-1.linear.weight",
        blocks={"n_layers": "layers."},
        beyond=("siglip_",),
    ),
    _Layout(
        family="wan",
        marks=("head.modulation", "blocks.0.self_attn.q.weight"),
        inlet="patch_embedding.weight",
        outlet="head.head.weight",
        blocks={"num_layers": "blocks."},
        beyond=_WAN_BEYOND,
    ),
    _Layout(
        family="wan",
        marks=("scale_shift_table", "blocks.0.attn1.to_q.weight"),
        inlet="patch_embedding.weight",
        outlet="proj_out.weight",
        blocks={"num_layers": "blocks."},
        beyond=(*_WAN_BEYOND, "condition_embedder.image_embedder."),
    ),
    _Layout(
        family="",
        marks=("time_embed.0.weight", "middle_block.1.transformer_blocks.0.attn2.to_k.weight"),
        inlet="input_blocks.0.0.weight",
        outlet="out.2.weight",
    ),
    _Layout(
        family="",
        marks=("time_embedding.linear_1.weight", "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"),
        inlet="conv_in.weight",
        outlet="conv_out.weight",
    ),
)

_PREFIXES = ("model.diffusion_model.", "")
_CONDITIONED_BY_SIZE = ("label_emb.0.0.weight", "add_embedding.linear_1.weight")
_SD2_TEXT_WIDTH = 1024
_REFINER_TEXT_WIDTH = 1280
_QUANTISED = (".scale_weight", ".weight_scale", ".comfy_quant", "scaled_fp8", ".absmax", ".quant_map")
_ADAPTERS = (".lora_down.", ".lora_up.", ".lora_A.", ".lora_B.", ".lora.down.", ".lora.up.", ".hada_w1_a", ".lokr_w1")
_HELD = (
    ("first_stage_model.", "vae"),
    ("vae.", "vae"),
    ("cond_stage_model.", "text_encoder"),
    ("conditioner.embedders.0.", "text_encoder"),
    ("conditioner.embedders.1.", "text_encoder_2"),
    ("text_encoders.clip_l.", "text_encoder"),
    ("text_encoders.clip_g.", "text_encoder_2"),
)


def read_checkpoint_facts(table: TensorTable) -> CheckpointFacts:
    """What a file of these tensors is. Nothing but names and shapes is looked at."""
    if any(part in name for name in table for part in _ADAPTERS):
        return CheckpointFacts(refusal="is a LoRA, not a base model")
    if any(name.endswith(_QUANTISED) or "bitsandbytes__" in name for name in table):
        return CheckpointFacts(refusal="holds quantised weights, which lost what training needs")
    if any(name.startswith(("control_model.", "input_hint_block.", "controlnet_cond_embedding.")) for name in table):
        return CheckpointFacts(refusal="is a ControlNet, not a base model")
    for prefix in _PREFIXES:
        shapes = {name.removeprefix(prefix): shape for name, (_, shape) in table.items() if name.startswith(prefix)}
        for layout in _LAYOUTS:
            if all(name in shapes for name in (*layout.marks, layout.inlet, layout.outlet)):
                return _facts(layout, shapes, table)
    return CheckpointFacts()


def _facts(layout: _Layout, shapes: Mapping[str, tuple[int, ...]], table: TensorTable) -> CheckpointFacts:
    family, refusal = (layout.family, "") if layout.family else _unet_family(layout, shapes)
    taken, given = _channels(layout, shapes)
    beyond = layout.beyond and any(name.startswith(layout.beyond) for name in shapes)
    if not refusal and (taken != given or beyond):
        refusal = "takes more than a prompt (an inpainting, editing or image-to-video model)"
    if refusal:
        return CheckpointFacts(refusal=refusal)
    settings: dict[str, int | bool] = {
        name: len({key[len(start) :].split(".")[0] for key in shapes if key.startswith(start)})
        for name, start in layout.blocks.items()
    }
    if layout.guidance:
        settings["guidance_embeds"] = any(name.startswith(layout.guidance) for name in shapes)
    return CheckpointFacts(family=family, components=_components(family, table), settings=settings)


def _unet_family(layout: _Layout, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, str]:
    """Family and refusal of a UNet, by the width of the text that it attends to and by whether it is told the size of the picture."""
    width = shapes[layout.marks[1]][-1]
    if not any(name in shapes for name in _CONDITIONED_BY_SIZE):
        return ("sd2" if width == _SD2_TEXT_WIDTH else "sd15"), ""
    if width == _REFINER_TEXT_WIDTH:
        return "", "is the refiner of Stable Diffusion XL, not a base model"
    if width == _SD2_TEXT_WIDTH:
        return "", "takes more than a prompt (a Stable Diffusion 2 that varies pictures)"
    return "sdxl", ""


def _channels(layout: _Layout, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, int]:
    """How much goes in and comes out per place: channels of a convolutional network, channels times patch area of a transformer."""
    inlet, outlet = shapes[layout.inlet], shapes[layout.outlet]
    return (math.prod(inlet[1:]) if layout.family else inlet[1]), outlet[0]


def _components(family: str, table: TensorTable) -> frozenset[str]:
    held = {"unet" if family in ("sd15", "sd2", "sdxl") else "transformer"}
    held |= {component for start, component in _HELD if any(name.startswith(start) for name in table)}
    if any(name.startswith("text_encoders.t5xxl.") for name in table):
        held.add("text_encoder_3" if family == "sd3" else "text_encoder_2")
    return frozenset(held)
