"""What a user can set: one model for the trainer, one for the renderer."""

from typing import Literal

from assetforge.api.params import Params, param

__all__ = ["LoraTrainerParams", "Precision", "RendererParams"]

Precision = Literal["auto", "fp32", "bf16", "fp16"]


class LoraTrainerParams(Params):
    """How a LoRA is trained. A count, size or share of 0 switches its feature off unless the help says otherwise."""

    rank: int = param(16, "Rank of the LoRA: how much it can learn.", group="Network", ge=1, le=256)
    alpha: float = param(8.0, "Scale of the LoRA; it is applied as alpha / rank.", group="Network", gt=0, le=1024)
    targets: Literal["attention", "attention+ff"] = param(
        "attention+ff",
        "Layers of the denoiser to adapt: attention alone, or the whole transformer blocks as kohya's scripts do.",
        group="Network",
    )
    conv_rank: int = param(
        0, "Rank on the convolutions of the residual blocks; 0 leaves them alone.", group="Network", ge=0, le=256
    )
    conv_alpha: float = param(
        0.0,
        "Scale on the convolutions; 0 takes the same share of the rank as alpha does.",
        group="Network",
        advanced=True,
        ge=0,
        le=1024,
    )
    dropout: float = param(
        0.0, "Share of LoRA inputs that are dropped while training.", group="Network", advanced=True, ge=0, lt=1
    )
    text_encoder: bool = param(
        False, "Adapt the text encoder too; its outputs can then not be cached.", group="Network"
    )

    steps: int = param(
        0, "Optimizer steps; 0 follows from image views.", unit="steps", group="Length", ge=0, le=1_000_000
    )
    views: float = param(
        100.0,
        "How often each picture is seen; steps = views * pictures / batch size.",
        unit="views",
        group="Length",
        gt=0,
        le=100_000,
    )
    batch_size: int = param(4, "Pictures per step.", unit="pictures", group="Length", ge=1, le=256)
    checkpoint_every: int = param(
        250,
        "Steps between checkpoints that a killed run resumes from.",
        unit="steps",
        group="Length",
        advanced=True,
        ge=1,
    )
    validation_every: int = param(
        0,
        "Steps between validation losses on held-out pictures; 0 for never.",
        unit="steps",
        group="Length",
        advanced=True,
        ge=0,
    )

    learning_rate: float = param(1e-4, "Peak learning rate of the denoiser.", group="Optimizer", gt=0, le=1)
    text_encoder_learning_rate: float = param(
        5e-5, "Peak learning rate of the text encoder.", group="Optimizer", gt=0, le=1
    )
    lr_scheduler: Literal["constant", "cosine", "linear"] = param(
        "cosine", "How the learning rate goes on after the warm-up.", group="Optimizer"
    )
    warmup: float = param(
        0.05, "Share of the steps over which the learning rate rises.", group="Optimizer", ge=0, le=0.9
    )
    optimizer: Literal["adamw"] = param("adamw", "Optimizer.", group="Optimizer", advanced=True)
    beta1: float = param(0.9, "Decay of the first moment.", group="Optimizer", advanced=True, ge=0, lt=1)
    beta2: float = param(0.999, "Decay of the second moment.", group="Optimizer", advanced=True, ge=0, lt=1)
    weight_decay: float = param(0.01, "Decoupled weight decay.", group="Optimizer", advanced=True, ge=0, le=1)
    max_grad_norm: float = param(
        1.0, "Gradients are clipped to this norm; 0 does not clip.", group="Optimizer", advanced=True, ge=0
    )

    resolution: int = param(
        0, "Side of the square training pictures; 0 takes the base model's.", unit="px", group="Pictures", ge=0, le=4096
    )
    flip: bool = param(False, "Mirror pictures at random; not for faces, text or anything lopsided.", group="Pictures")
    caption_dropout: float = param(0.05, "Share of views without a caption.", group="Pictures", ge=0, le=1)

    min_snr_gamma: float = param(
        5.0, "Min-SNR weighting of the loss; 0 weighs all noise levels alike.", group="Loss", ge=0, le=100
    )
    noise_offset: float = param(
        0.0,
        "Shifts the noise of whole channels, for very dark or bright looks.",
        group="Loss",
        advanced=True,
        ge=0,
        le=1,
    )

    precision: Precision = param(
        "auto",
        "Number format; auto is fp32 on CPU and MPS, bf16 on a GPU that has it, else fp16.",
        group="Machine",
        advanced=True,
    )
    gradient_checkpointing: bool = param(
        False, "Compute activations twice to save memory; about 1.7 times slower.", group="Machine", advanced=True
    )


class RendererParams(Params):
    """How pictures are rendered; everything else belongs to the suite."""

    precision: Precision = param(
        "auto", "Number format; auto is fp32 on CPU and MPS, fp16 on a GPU.", group="Machine", advanced=True
    )
    merge: Literal["auto", "on", "off"] = param(
        "auto",
        "Merge LoRAs into the weights, which samples faster; auto merges in fp32, where no precision is lost.",
        group="Machine",
        advanced=True,
    )
