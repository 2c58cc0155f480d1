"""FLUX.2 pipelines with random weights."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Pipeline,
    Flux2Transformer2DModel,
)
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tiny.parts import TINY_SIDE
from tiny.qwen_tokenizer import VOCABULARY, qwen_tokenizer

_WIDTH = 8
_MISTRAL_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message.role == 'system' %}[SYSTEM_PROMPT]{{ message.content[0].text }}[/SYSTEM_PROMPT]"
    "{% else %}[INST]{{ message.content[0].text }}[/INST]{% endif %}{% endfor %}"
)
_MISTRAL_SPECIAL = (
    *("<unk>", "<s>", "</s>", "<pad>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
    *("[IMG]", "[IMG_BREAK]", "[IMG_END]"),
)


def mistral_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE without merges that pads on the left."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*_MISTRAL_SPECIAL, *letters])}
    words = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=list(_MISTRAL_SPECIAL[4:]),
        padding_side="left",
        chat_template=_MISTRAL_TEMPLATE,
        model_max_length=131072,
    )


def _sizes(**settings: Any) -> dict[str, Any]:
    return {
        "hidden_size": _WIDTH,
        "intermediate_size": 2 * _WIDTH,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 4,
        "max_position_embeddings": 1024,
        **settings,
    }


def _mistral(tokenizer: PreTrainedTokenizerFast) -> Mistral3ForConditionalGeneration:
    return Mistral3ForConditionalGeneration(
        Mistral3Config(
            text_config=_sizes(model_type="mistral", vocab_size=len(tokenizer), num_hidden_layers=31),
            vision_config={
                "model_type": "pixtral",
                "hidden_size": _WIDTH,
                "intermediate_size": 2 * _WIDTH,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "image_size": 32,
                "patch_size": 16,
            },
            image_token_index=_MISTRAL_SPECIAL.index("[IMG]"),
        )
    ).eval()


def _autoencoder() -> AutoencoderKLFlux2:
    vae = AutoencoderKLFlux2(
        sample_size=TINY_SIDE,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(4, 8),
        layers_per_block=1,
        latent_channels=2,
        norm_num_groups=2,
    )
    with torch.no_grad():  # as if it had seen pictures
        vae.bn.running_mean.normal_()
        vae.bn.running_var.uniform_(0.5, 2.0)
    return vae


def tiny_flux2(folder: Path, seed: int = 0, *, klein: bool = False, distilled: bool = False) -> Path:
    """Save a pipeline of about 60,000 weights, built like dev or klein, and return its folder."""
    torch.manual_seed(seed)
    parts = {
        "transformer": Flux2Transformer2DModel(
            in_channels=4 * 2,
            num_layers=2,
            num_single_layers=3,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=3 * _WIDTH,
            timestep_guidance_channels=16,
            axes_dims_rope=(2, 2, 2, 2),
            guidance_embeds=not klein,
        ),
        "vae": _autoencoder(),
        "scheduler": FlowMatchEulerDiscreteScheduler(
            shift=3.0,
            use_dynamic_shifting=True,
            base_shift=0.5,
            max_shift=1.15,
            base_image_seq_len=256,
            max_image_seq_len=4096,
        ),
    }
    if klein:
        encoder = Qwen3ForCausalLM(Qwen3Config(**_sizes(vocab_size=VOCABULARY, num_hidden_layers=28))).eval()
        Flux2KleinPipeline(
            **parts, text_encoder=encoder, tokenizer=qwen_tokenizer(), is_distilled=distilled
        ).save_pretrained(folder, safe_serialization=True)
        return folder
    tokenizer = mistral_tokenizer()
    Flux2Pipeline(**parts, text_encoder=_mistral(tokenizer), tokenizer=tokenizer).save_pretrained(
        folder, safe_serialization=True
    )
    index = (
        folder / "model_index.json"
    )  # the published one names Mistral's processor, of which only the tokenizer is used
    described = {**json.loads(index.read_text()), "tokenizer": ["transformers", "PixtralProcessor"]}
    index.write_text(json.dumps(described, indent=2))
    return folder
