"""What the tiny Stable Diffusion pipelines are made of."""

from pathlib import Path
from typing import Any

from diffusers import AutoencoderKL
from transformers import CLIPTextConfig, CLIPTokenizer, T5Config, T5EncoderModel, T5TokenizerFast

from diffusers_world import tiny_tokenizer

TINY_SIDE = 32

_PUNCTUATION = " .,:;!?'\"()/-"


def clip_tokenizer(folder: Path, pad: str = "<|endoftext|>", length: int = 24) -> CLIPTokenizer:
    """A byte-level CLIP tokenizer of ``length`` tokens that pads with ``pad``."""
    tiny_tokenizer(folder)
    return CLIPTokenizer.from_pretrained(folder, model_max_length=length, pad_token=pad)


def clip_config(width: int, **settings: Any) -> CLIPTextConfig:
    """Settings of a CLIP text encoder of three layers for that tokenizer."""
    return CLIPTextConfig(
        vocab_size=514,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=24,
        projection_dim=width,
        bos_token_id=512,
        eos_token_id=513,
        pad_token_id=513,
        **settings,
    )


def tiny_autoencoder(**settings: Any) -> AutoencoderKL:
    """Four channels at half the size."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        sample_size=TINY_SIDE,
        block_out_channels=(4, 8),
        layers_per_block=1,
        norm_num_groups=2,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        **settings,
    )


def t5_tokenizer() -> T5TokenizerFast:
    """A unigram tokenizer of letters, digits and punctuation."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    pieces = ["▁", *letters, *(letter.upper() for letter in letters), *"0123456789", *_PUNCTUATION.strip()]
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((piece, -1.0) for piece in pieces)]
    return T5TokenizerFast(vocab=vocabulary, extra_ids=0)


def t5_encoder(tokenizer: T5TokenizerFast, width: int) -> T5EncoderModel:
    """A T5 encoder of one layer."""
    return T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=width,
            d_ff=2 * width,
            d_kv=8,
            num_heads=2,
            num_layers=1,
            feed_forward_proj="gated-gelu",
            pad_token_id=0,
            eos_token_id=1,
        )
    ).eval()
