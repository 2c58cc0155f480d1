"""What a user can set: one model for the trainer, one for the renderer."""

from typing import Literal

from pydantic import field_validator

from assetforge.api.params import Params, param

__all__ = ["LoraTrainerParams", "Network", "Precision", "RendererParams"]

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Network = Literal["lora", "dora", "loha", "lokr"]


class LoraTrainerParams(Params):
    """How a LoRA is trained. A count, size or share of 0 switches its feature off unless the help says otherwise."""

    network: Network = param(
        "lora",
        "Kind of adapter: LoRA; DoRA, which learns directions and lengths apart; LoHa and LoKr, which learn more with fewer numbers.",
        group="Network",
    )
    rank: int = param(16, "Rank of the LoRA: how much it can learn.", group="Network", ge=1, le=256)
    alpha: float = param(8.0, "Scale of the LoRA; it is applied as alpha / rank.", group="Network", gt=0, le=1024)
    targets: Literal["attention", "attention+ff"] = param(
        "attention+ff",
        "Layers of the denoiser to adapt: attention alone, or the whole transformer blocks as kohya's scripts do.",
        group="Network",
    )
    lokr_factor: int = param(
        -1,
        "LoKr: size of the smaller factor; -1 splits evenly.",
        group="Network",
        advanced=True,
        ge=-1,
        le=64,
        only_if="network=lokr",
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
        only_if="conv_rank",
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
        "How often each picture is seen; steps = views * pictures / (batch size * batches added up).",
        unit="views",
        group="Length",
        gt=0,
        le=100_000,
        only_if="not steps",
    )
    batch_size: int = param(4, "Pictures that are computed at once.", unit="pictures", group="Length", ge=1, le=256)
    accumulate: int = param(
        1,
        "Batches whose gradients are added up to one step.",
        unit="batches",
        group="Length",
        advanced=True,
        ge=1,
        le=256,
    )
    checkpoint_every: int = param(
        250,
        "Steps between checkpoints that a killed run resumes from.",
        unit="steps",
        group="Length",
        advanced=True,
        ge=1,
        affects_result=False,
    )
    keep_every: int = param(
        0,
        "Steps between weights that are kept beside the last ones, each of which can become a version; 0 for none.",
        unit="steps",
        group="Length",
        advanced=True,
        ge=0,
    )
    validation_every: int = param(
        0,
        "Steps between validation losses on held-out pictures; 0 for never.",
        unit="steps",
        group="Length",
        advanced=True,
        ge=0,
        affects_result=False,
    )

    sample_every: int = param(
        0,
        "Steps between pictures that are drawn for whoever watches the run, beginning before the first step; 0 for none.",
        unit="steps",
        group="Samples",
        ge=0,
        affects_result=False,
        only_if="not offload",
    )
    sample_prompts: str = param(
        "",
        "What they show, prompts with vertical bars between them, in which {trigger} and {class} stand for the asset's words; empty takes up to four captions, of held-out pictures first.",
        group="Samples",
        affects_result=False,
        only_if="sample_every",
    )
    sample_steps: int = param(
        0,
        "Sampling steps of each; 0 takes what the model family is rendered with.",
        unit="steps",
        group="Samples",
        advanced=True,
        ge=0,
        le=1000,
        affects_result=False,
        only_if="sample_every",
    )

    sample_guidance: float = param(
        0.0,
        "Guidance of each; 0 takes what the model family is rendered with. A base that was distilled to do without wants 1.",
        group="Samples",
        advanced=True,
        ge=0,
        le=50,
        affects_result=False,
        only_if="sample_every",
    )

    learning_rate: float = param(1e-4, "Peak learning rate of the denoiser.", group="Optimizer", gt=0, le=1)
    text_encoder_learning_rate: float = param(
        5e-5,
        "Peak learning rate of the text encoder.",
        group="Optimizer",
        gt=0,
        le=1,
        only_if=("text_encoder", "not optimizer=prodigy"),
    )
    lr_scheduler: Literal["constant", "cosine", "linear"] = param(
        "cosine", "How the learning rate goes on after the warm-up.", group="Optimizer"
    )
    warmup: float = param(
        0.05, "Share of the steps over which the learning rate rises.", group="Optimizer", ge=0, le=0.9
    )
    optimizer: Literal["adamw", "adamw8bit", "adafactor", "prodigy", "schedule-free"] = param(
        "adamw",
        "Optimizer; prodigy finds its own learning rate (set learning_rate to 1), schedule-free needs no schedule.",
        group="Optimizer",
        advanced=True,
    )
    beta1: float = param(
        0.9,
        "Decay of the first moment.",
        group="Optimizer",
        advanced=True,
        ge=0,
        lt=1,
        only_if="not optimizer=adafactor",
    )
    beta2: float = param(
        0.999,
        "Decay of the second moment.",
        group="Optimizer",
        advanced=True,
        ge=0,
        lt=1,
        only_if="not optimizer=adafactor",
    )
    weight_decay: float = param(0.01, "Decoupled weight decay.", group="Optimizer", advanced=True, ge=0, le=1)
    max_grad_norm: float = param(
        1.0, "Gradients are clipped to this norm; 0 does not clip.", group="Optimizer", advanced=True, ge=0
    )

    ema: float = param(
        0.0,
        "Decay of an average of the weights, which is what is kept; 0 keeps the last weights.",
        group="Optimizer",
        advanced=True,
        ge=0,
        lt=1,
    )

    resolutions: tuple[int, ...] = param(
        (),
        "Sides of the squares whose area pictures have, such as 512,768,1024; empty takes the base model's.",
        unit="px",
        group="Pictures",
    )
    buckets: bool = param(
        True,
        "Keep the shapes of pictures in aspect-ratio buckets; otherwise their centre squares are taken.",
        group="Pictures",
    )
    bucket_step: int = param(
        64,
        "What the sides of buckets are multiples of.",
        unit="px",
        group="Pictures",
        advanced=True,
        ge=8,
        le=256,
        only_if="buckets",
    )
    enlarge: bool = param(
        False,
        "Scale small pictures up instead of showing them at their own size.",
        group="Pictures",
        advanced=True,
        only_if="buckets",
    )
    flip: bool = param(False, "Mirror pictures at random; not for faces, text or anything lopsided.", group="Pictures")
    mask: Literal["none", "alpha", "file"] = param(
        "none",
        "Learn from parts of pictures alone: the opaque ones, as their alpha channel says, or the white ones of the mask that a reference has; without one the whole picture.",
        group="Pictures",
    )
    mask_floor: float = param(
        0.1, "Weight of what the mask hides.", group="Pictures", advanced=True, ge=0, le=1, only_if="not mask=none"
    )
    bad_pictures: Literal["stop", "skip"] = param(
        "stop",
        "Pictures that cannot be read: stop before the first step and name them, or go on without them.",
        group="Pictures",
    )
    prior_pictures: int = param(
        0,
        "Pictures of the class word that the base itself draws and that are learnt along, against bleed; 0 for none.",
        unit="pictures",
        group="Pictures",
        ge=0,
        le=10_000,
    )
    prior_weight: float = param(
        1.0, "Weight of their loss.", group="Pictures", advanced=True, ge=0, le=10, only_if="prior_pictures"
    )

    caption_dropout: float = param(0.05, "Share of views without a caption.", group="Captions", ge=0, le=1)
    insert_trigger: bool = param(False, "Put the trigger word before captions that lack it.", group="Captions")
    empty_captions: Literal["use", "skip", "stop"] = param(
        "use",
        "Pictures without a caption: learn them as they are, leave them out, or stop before the first step and name them.",
        group="Captions",
    )
    shuffle_tags: bool = param(False, "Shuffle the parts of captions between commas.", group="Captions")
    keep_tags: int = param(
        1,
        "Parts at the beginning that stay where they are when shuffling.",
        group="Captions",
        advanced=True,
        ge=0,
        le=100,
        only_if="shuffle_tags",
    )
    caption_variants: int = param(
        8,
        "Orders of each caption that are prepared when shuffling.",
        group="Captions",
        advanced=True,
        ge=1,
        le=64,
        only_if="shuffle_tags",
    )

    min_snr_gamma: float = param(
        5.0,
        "Min-SNR weighting of the loss; 0 weighs all noise levels alike.",
        group="Loss",
        ge=0,
        le=100,
        only_if="not debiased",
    )
    debiased: bool = param(False, "Debiased estimation weighting instead of min-SNR.", group="Loss", advanced=True)
    zero_terminal_snr: bool = param(
        False,
        "Let the noise schedule end in pure noise; only for bases that predict velocity.",
        group="Loss",
        advanced=True,
    )
    noise_levels: Literal["auto", "uniform", "logit-normal"] = param(
        "auto",
        "How noise levels are drawn; auto is uniform for diffusion and logit-normal for flow models.",
        group="Loss",
        advanced=True,
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
        False,
        "Compute activations twice to save memory; about 1.7 times slower.",
        group="Machine",
        advanced=True,
        affects_result=False,
    )
    gpus: int = param(
        1,
        "GPUs that share the batches of a step, which accumulate must be a multiple of; what is learnt is the same. On a CPU, processes.",
        group="Machine",
        advanced=True,
        ge=1,
        le=16,
        affects_result=False,
    )
    compile: bool = param(
        False,
        "Compile the blocks of the denoiser: the first step of every size takes a minute or more longer, all others 4 to 10 % less time and memory on a GPU.",
        group="Machine",
        advanced=True,
    )
    cuda_graphs: bool = param(
        True,
        "Record the kernels of a step once for every size of picture and launch them as one; only on an NVIDIA GPU, in bf16 or fp32, without dropout and offload.",
        group="Machine",
        advanced=True,
        affects_result=False,
    )
    quantize: Literal["none", "int8", "nf4"] = param(
        "none",
        "Keep the frozen base in fewer bits to save memory; slower, and with nf4 a little less like itself.",
        group="Machine",
        advanced=True,
    )
    offload: bool = param(
        False,
        "Keep the frozen base in main memory and bring it to the device layer by layer; much slower.",
        group="Machine",
        advanced=True,
        affects_result=False,
    )
    fit_memory: Literal["ask", "auto"] = param(
        "ask",
        "What to do when memory does not suffice: stop and name what would help, or take the cheapest measure that does and say so.",
        group="Machine",
    )
    memory_limit: float = param(
        0.0,
        "How much memory a run may take; 0 for what is free when it starts.",
        unit="GiB",
        group="Machine",
        advanced=True,
        ge=0,
        affects_result=False,
    )

    @field_validator("resolutions", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        """Take ``512``, ``"512,768"`` and lists alike."""
        if isinstance(value, int):
            return (value,)
        return tuple(part for part in value.replace(" ", "").split(",") if part) if isinstance(value, str) else value

    @field_validator("resolutions")
    @classmethod
    def _sensible(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(not 16 <= side <= 4096 for side in value):
            raise ValueError("sides are 16 to 4096 pixels")
        return tuple(sorted(set(value)))


class RendererParams(Params):
    """How pictures are rendered; everything else belongs to the suite."""

    precision: Precision = param(
        "auto", "Number format; auto is fp32 on CPU and MPS, fp16 on a GPU.", group="Machine", advanced=True
    )
    batch_size: int = param(
        0,
        "Pictures rendered at once; 0 finds the largest that gives the same pixels as one at a time.",
        unit="pictures",
        group="Machine",
        advanced=True,
        ge=0,
        le=64,
    )
    merge: Literal["auto", "on", "off"] = param(
        "auto",
        "Merge LoRAs into the weights, which samples faster; auto merges in fp32, where no precision is lost.",
        group="Machine",
        advanced=True,
    )
