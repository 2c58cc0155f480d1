"""Pictures, and models of a few thousand random weights in the forms in which the real ones are published."""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from torch import nn
from transformers import (
    CLIPConfig,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    SiglipConfig,
    SiglipModel,
)

LENGTH = 16
SIDE = 28
_TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
WORDS = ("a", "red", "lamp", "on", "the", "table", "fox", "boat")


def picture(seed, height=64, width=64):
    """A smooth picture of a few waves, with a little grain."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 32.0
    waves = [np.sin(x * random.uniform(1, 6) + y * random.uniform(1, 6) + random.uniform(0, 6)) for _ in range(3)]
    return np.clip(np.stack(waves, -1) * 90 + 128 + random.normal(0, 6, (height, width, 3)), 0, 255).astype(np.uint8)


def shaken(network):
    """The network with every weight drawn anew, so that nothing is 0 or 1 by its making."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(
                    torch.randn(tensor.shape, generator=generator) * 0.15
                    + (name.endswith(("var", "norm.weight")) * 1.0)
                )
                if name.endswith("var"):
                    tensor.abs_().add_(0.1)
    return network.eval()


def clip_folder(folder: Path) -> Path:
    """CLIP with byte-level words, a crop of 28 pixels and 16 tokens."""
    torch.manual_seed(1)
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    symbols = [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    tokens = [*symbols, *(s + "</w>" for s in symbols), "<|startoftext|>", "<|endoftext|>"]
    text = {**_TOWER, "vocab_size": 514, "max_position_embeddings": LENGTH, "bos_token_id": 512, "eos_token_id": 513}
    CLIPModel(
        CLIPConfig(
            text_config=text,
            vision_config={**_TOWER, "image_size": SIDE, "patch_size": 14},
            projection_dim=24,
        )
    ).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", "utf-8")
    return folder


def siglip_folder(folder: Path) -> Path:
    """SigLIP of 28 pixels and 16 tokens; its words are those of :data:`WORDS`."""
    torch.manual_seed(2)
    words = ["<unk>", "</s>", *WORDS]
    text = {**_TOWER, "vocab_size": len(words), "max_position_embeddings": LENGTH, "projection_size": 32}
    SiglipModel(
        SiglipConfig(text_config=text, vision_config={**_TOWER, "image_size": SIDE, "patch_size": 14})
    ).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.enable_padding(length=64)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def dinov2_folder(folder: Path, registers: int = 0) -> Path:
    """DINOv2 with patches of 14 pixels."""
    torch.manual_seed(3)
    settings = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 56, "patch_size": 14}
    if registers:
        config = Dinov2WithRegistersConfig(**settings, num_register_tokens=registers)
        Dinov2WithRegistersModel(config).save_pretrained(folder)
    else:
        Dinov2Model(Dinov2Config(**settings)).save_pretrained(folder)
    return folder


class OpenAiBlock(nn.Module):
    """One block of OpenAI's CLIP, as its published weights are named."""

    def __init__(self, width, heads):
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 2 * width), "c_proj": nn.Linear(2 * width, width)})

    def forward(self, x):
        seen = self.ln_1(x)
        x = x + self.attn(seen, seen, seen, need_weights=False)[0]
        inner = self.mlp["c_fc"](self.ln_2(x))
        return x + self.mlp["c_proj"](inner * torch.sigmoid(1.702 * inner))


class OpenAiTower(nn.Module):
    """The picture tower of OpenAI's CLIP without its last projection, by its own description."""

    def __init__(self, width=128, heads=2, patch=14, grid=16, blocks=2):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros(grid**2 + 1, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = nn.ModuleDict({"resblocks": nn.ModuleList(OpenAiBlock(width, heads) for _ in range(blocks))})

    def forward(self, pictures):
        x = self.conv1(pictures).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], dim=1) + self.positional_embedding
        x = self.ln_pre(x)
        for block in self.transformer["resblocks"]:
            x = block(x)
        return self.ln_post(x[:, 0])


def csd_file(file: Path):
    """A published CSD in small; gives the tower and the style matrix too."""
    tower = shaken(OpenAiTower())
    style = torch.randn(128, 20, generator=torch.Generator().manual_seed(9))
    tensors = {f"backbone.{name}": tensor for name, tensor in tower.state_dict().items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({**tensors, "last_layer_style": style, "last_layer_content": style.clone()}, file)
    return tower, style
