"""What single-file checkpoints are, by the names and shapes of their tensors: a few of each family's, as its own code and as diffusers writes them."""

import pytest

from assetforge.domain.checkpoint_family import read_checkpoint_facts

LDM = "model.diffusion_model."


def ldm(width, *, inlet=4, **more):
    return {
        f"{LDM}time_embed.0.weight": (1280, 320),
        f"{LDM}input_blocks.0.0.weight": (320, inlet, 3, 3),
        f"{LDM}middle_block.1.transformer_blocks.0.attn2.to_k.weight": (1280, width),
        f"{LDM}out.2.weight": (4, 320, 3, 3),
        "first_stage_model.encoder.conv_in.weight": (128, 3, 3, 3),
        **more,
    }


SD15 = ldm(768, **{"cond_stage_model.transformer.text_model.embeddings.position_embedding.weight": (77, 768)})
SD2 = ldm(1024, **{"cond_stage_model.model.token_embedding.weight": (49408, 1024)})
SDXL = ldm(
    2048,
    **{
        f"{LDM}label_emb.0.0.weight": (1280, 2816),
        "conditioner.embedders.0.transformer.text_model.embeddings.position_embedding.weight": (77, 768),
        "conditioner.embedders.1.model.positional_embedding": (77, 1280),
    },
)
DIFFUSERS_SDXL = {
    "time_embedding.linear_1.weight": (1280, 320),
    "conv_in.weight": (320, 4, 3, 3),
    "conv_out.weight": (4, 320, 3, 3),
    "add_embedding.linear_1.weight": (1280, 2816),
    "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight": (1280, 2048),
}
SD3 = {
    f"{LDM}x_embedder.proj.weight": (1536, 16, 2, 2),
    f"{LDM}context_embedder.weight": (1536, 4096),
    f"{LDM}joint_blocks.0.context_block.attn.qkv.weight": (4608, 1536),
    f"{LDM}joint_blocks.1.context_block.attn.qkv.weight": (4608, 1536),
    f"{LDM}final_layer.linear.weight": (64, 1536),
    "first_stage_model.decoder.conv_in.weight": (512, 16, 3, 3),
    "text_encoders.clip_l.transformer.text_model.embeddings.position_embedding.weight": (77, 768),
    "text_encoders.clip_g.transformer.text_model.embeddings.position_embedding.weight": (77, 1280),
    "text_encoders.t5xxl.transformer.shared.weight": (32128, 4096),
}
DIFFUSERS_SD3 = {
    "pos_embed.proj.weight": (1536, 16, 2, 2),
    "context_embedder.weight": (1536, 4096),
    "transformer_blocks.0.attn.add_q_proj.weight": (1536, 1536),
    "proj_out.weight": (64, 1536),
}
FLUX1 = {
    "img_in.weight": (3072, 64),
    "vector_in.in_layer.weight": (3072, 768),
    "double_blocks.0.img_attn.qkv.weight": (9216, 3072),
    "double_blocks.1.img_attn.qkv.weight": (9216, 3072),
    "single_blocks.0.linear1.weight": (21504, 3072),
    "final_layer.linear.weight": (64, 3072),
}
DIFFUSERS_FLUX1 = {
    "x_embedder.weight": (3072, 64),
    "context_embedder.weight": (3072, 4096),
    "time_text_embed.text_embedder.linear_1.weight": (3072, 768),
    "transformer_blocks.0.attn.add_q_proj.weight": (3072, 3072),
    "single_transformer_blocks.0.attn.to_q.weight": (3072, 3072),
    "proj_out.weight": (64, 3072),
}
FLUX2 = {
    "img_in.weight": (6144, 128),
    "double_stream_modulation_img.lin.weight": (36864, 6144),
    "double_blocks.0.img_attn.qkv.weight": (18432, 6144),
    "single_blocks.0.linear1.weight": (55296, 6144),
    "guidance_in.in_layer.weight": (6144, 256),
    "final_layer.linear.weight": (128, 6144),
}
DIFFUSERS_FLUX2 = {
    "x_embedder.weight": (6144, 128),
    "context_embedder.weight": (6144, 15360),
    "double_stream_modulation_img.linear.weight": (36864, 6144),
    "single_transformer_blocks.0.attn.to_qkv_mlp_proj.weight": (55296, 6144),
    "transformer_blocks.0.attn.to_q.weight": (6144, 6144),
    "proj_out.weight": (128, 6144),
}
QWEN = {
    "img_in.weight": (3072, 64),
    "txt_norm.weight": (3584,),
    "transformer_blocks.0.attn.add_q_proj.weight": (3072, 3072),
    "proj_out.weight": (64, 3072),
}
Z_IMAGE = {
    "x_embedder.weight": (3840, 64),
    "cap_embedder.1.weight": (3840, 2560),
    "layers.0.adaLN_modulation.0.weight": (15360, 256),
    "noise_refiner.0.adaLN_modulation.0.weight": (15360, 256),
    "final_layer.linear.weight": (64, 3840),
}
DIFFUSERS_Z_IMAGE = {
    "all_x_embedder.2-1.weight": (3840, 64),
    "cap_embedder.1.weight": (3840, 2560),
    "layers.0.adaLN_modulation.0.weight": (15360, 256),
    "all_final_layer.2-1.linear.weight": (64, 3840),
}
WAN = {
    "patch_embedding.weight": (1536, 16, 1, 2, 2),
    "blocks.0.self_attn.q.weight": (1536, 1536),
    "head.modulation": (1, 2, 1536),
    "head.head.weight": (64, 1536),
}
DIFFUSERS_WAN = {
    "patch_embedding.weight": (1536, 16, 1, 2, 2),
    "blocks.0.attn1.to_q.weight": (1536, 1536),
    "scale_shift_table": (1, 2, 1536),
    "proj_out.weight": (64, 1536),
}


def facts(shapes, dtype="F16"):
    return read_checkpoint_facts({name: (dtype, shape) for name, shape in shapes.items()})


@pytest.mark.parametrize(
    ("shapes", "family", "components"),
    [
        (SD15, "sd15", {"unet", "vae", "text_encoder"}),
        (SD2, "sd2", {"unet", "vae", "text_encoder"}),
        (SDXL, "sdxl", {"unet", "vae", "text_encoder", "text_encoder_2"}),
        (DIFFUSERS_SDXL, "sdxl", {"unet"}),
        (SD3, "sd3", {"transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3"}),
        (DIFFUSERS_SD3, "sd3", {"transformer"}),
        (FLUX1, "flux1", {"transformer"}),
        (DIFFUSERS_FLUX1, "flux1", {"transformer"}),
        (FLUX2, "flux2", {"transformer"}),
        (DIFFUSERS_FLUX2, "flux2", {"transformer"}),
        (QWEN, "qwen-image", {"transformer"}),
        (Z_IMAGE, "z-image", {"transformer"}),
        (DIFFUSERS_Z_IMAGE, "z-image", {"transformer"}),
        (WAN, "wan", {"transformer"}),
        (DIFFUSERS_WAN, "wan", {"transformer"}),
    ],
)
def test_every_family_is_known_by_its_tensors(shapes, family, components):
    found = facts(shapes)
    assert (found.family, found.refusal, found.components) == (family, "", components)


@pytest.mark.parametrize("shapes", [FLUX1, FLUX2, QWEN, Z_IMAGE, WAN], ids=["flux1", "flux2", "qwen", "z", "wan"])
def test_a_transformer_is_known_with_the_prefix_of_whole_checkpoints_too(shapes):
    whole = {f"{LDM}{name}": shape for name, shape in shapes.items()}
    assert facts(whole | {"vae.decoder.conv_in.weight": (1, 1)}).components == {"transformer", "vae"}
    assert facts(whole).settings == facts(shapes).settings


def test_members_of_a_family_are_told_apart():
    assert facts(FLUX1).settings == {"num_layers": 2, "num_single_layers": 1, "guidance_embeds": False}
    dev = FLUX1 | {"guidance_in.in_layer.weight": (3072, 256)}
    assert facts(dev).settings["guidance_embeds"] is True
    assert facts(FLUX2).settings["guidance_embeds"] is True
    assert facts(SD3).settings == {"num_layers": 2}
    assert facts(Z_IMAGE).settings == {"n_layers": 1}


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        (ldm(768, inlet=9), "more than a prompt"),
        (ldm(768, inlet=8), "more than a prompt"),
        (ldm(1280, **{f"{LDM}label_emb.0.0.weight": (1, 1)}), "refiner"),
        (ldm(1024, **{f"{LDM}label_emb.0.0.weight": (1, 1)}), "varies pictures"),
        (FLUX1 | {"img_in.weight": (3072, 384)}, "more than a prompt"),
        (WAN | {"patch_embedding.weight": (5120, 36, 1, 2, 2)}, "image-to-video"),
        (WAN | {"vace_blocks.0.after_proj.bias": (1,)}, "more than a prompt"),
        ({"lora_unet_down_blocks_0.lora_down.weight": (4, 320)}, "is a LoRA"),
        ({"unet.down_blocks.0.attn1.to_k.lora_A.weight": (4, 320)}, "is a LoRA"),
        (SD15 | {"control_model.time_embed.0.weight": (1, 1)}, "ControlNet"),
        (WAN | {"blocks.0.self_attn.q.scale_weight": (1,)}, "quantised"),
        (FLUX1 | {"double_blocks.0.img_attn.qkv.weight.quant_state.bitsandbytes__nf4": (1,)}, "quantised"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(shapes, words):
    found = facts(shapes)
    assert found.family == ""
    assert words in found.refusal


def test_other_tensors_are_of_no_family():
    for shapes in (
        {},
        {"text_model.encoder.layers.0.mlp.fc1.weight": (3072, 768)},
        {"decoder.conv_in.weight": (512, 4, 3, 3), "encoder.conv_in.weight": (128, 3, 3, 3)},
        # Lumina 2, HunyuanVideo and Chroma look alike at first sight.
        (Z_IMAGE | {"layers.0.adaLN_modulation.1.weight": (1, 1)}) | {"layers.0.adaLN_modulation.0.weight": None},
        {name.replace("img_in.", "img_in.proj."): shape for name, shape in FLUX1.items()},
        {name: shape for name, shape in FLUX1.items() if not name.startswith("vector_in")},
    ):
        there = {name: shape for name, shape in shapes.items() if shape is not None}
        assert facts(there).family == facts(there).refusal == ""
