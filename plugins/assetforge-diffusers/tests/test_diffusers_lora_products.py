"""LoRAs computed in few large products, and from copies in half precision, are the same LoRAs."""

import copy
from collections.abc import Iterator
from contextlib import suppress

import pytest
import torch
from networks_world import LAYERS, ask, tiny_unet
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from assetforge_diffusers import lora_products, regions
from assetforge_diffusers.attention import layers_asked_together, straighten
from assetforge_diffusers.half_factors import HalfFactors
from assetforge_diffusers.layouts import LAID_OUT, gates_apart, keep_channels_together
from assetforge_diffusers.lora_products import LoraProduct
from assetforge_diffusers.networks import adapt, denoiser_config
from assetforge_diffusers.params import LoraTrainerParams
from assetforge_diffusers.regions import compile_regions

pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # dynamo looks


def drawn(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("ranks", [(2,), (2, 3, 1)])
def test_the_products_and_their_gradients_are_what_they_say(ranks: tuple[int, ...], biased: bool) -> None:
    torch.manual_seed(0)
    x, inner = drawn(2, 5, 4), drawn(sum(ranks), 4)
    weights = [torch.randn(3 + index, 4, dtype=torch.float64) for index, _ in enumerate(ranks)]
    biases = [torch.randn(len(weight), dtype=torch.float64) for weight in weights] if biased else []
    outers = [drawn(len(weight), rank) for weight, rank in zip(weights, ranks, strict=True)]
    given = (x, weights, biases, inner, outers)
    torch.library.opcheck(lora_products._forward, given)
    *answers, _ = lora_products._forward(*given)
    first = 0
    for index, (answer, weight, outer) in enumerate(zip(answers, weights, outers, strict=True)):
        own = inner[first : first + outer.shape[1]]
        expected = x @ weight.t() + (x @ own.t()) @ outer.t() + (biases[index] if biased else 0.0)
        assert_close(answer, expected)
        first += outer.shape[1]
    trained = [x, inner, *outers]

    def answered(x: torch.Tensor, inner: torch.Tensor, *outers: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(lora_products._forward(x, weights, biases, inner, list(outers))[:-1])

    assert torch.autograd.gradcheck(answered, trained)
    frozen = x.detach()
    assert torch.autograd.gradcheck(lambda *factors: answered(frozen, *factors), trained[1:])


def test_an_answer_that_nobody_uses_has_no_gradient() -> None:
    x, inner, outers = drawn(3, 4), drawn(2, 4), [drawn(5, 1), drawn(5, 1)]
    weights = [torch.randn(5, 4, dtype=torch.float64) for _ in outers]
    lora_products._forward(x, weights, [], inner, outers)[0].sum().backward()
    assert float(outers[1].grad.abs().max()) == 0.0
    assert float(inner.grad[1].abs().max()) == 0.0
    assert float(inner.grad[0].abs().min()) > 0.0


@pytest.fixture
def unet() -> Iterator[torch.nn.Module]:
    """In bf16 with a LoRA that does something, whose strength is not 1."""
    made = tiny_unet(torch.bfloat16)
    straighten(made)
    torch.manual_seed(1)
    adapt(made, denoiser_config(LAYERS, LoraTrainerParams(rank=4, alpha=6.0)))
    for name, parameter in made.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    yield made.train()
    torch._dynamo.reset()


def learn(unet: torch.nn.Module, *, halves: bool, times: int = 1) -> tuple[torch.Tensor, list[torch.Tensor]]:
    unet.zero_grad()
    copies = HalfFactors([unet] if halves else [], torch.bfloat16)
    for _ in range(times):
        with copies:
            answer = ask(unet)
            answer.float().square().mean().backward()
    return answer.detach(), [parameter.grad for parameter in unet.parameters() if parameter.requires_grad]


def test_copies_in_half_precision_learn_the_same(unet: torch.nn.Module) -> None:
    assert layers_asked_together(unet)
    plain, expected = learn(unet, halves=False)
    answer, found = learn(unet, halves=True)
    assert torch.equal(answer, plain)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        assert_close(one, other, rtol=0.02, atol=1e-2 * float(other.abs().max()))
    _, twice = learn(unet, halves=True, times=2)
    assert_close(twice, [2 * gradient for gradient in found])


def test_copies_are_fresh_within_and_gone_outside(unet: torch.nn.Module) -> None:
    copies = HalfFactors([unet], torch.bfloat16)
    layers = [layer for layer in unet.modules() if isinstance(layer, LoraProduct)]
    with torch.no_grad():
        before = ask(unet)
        for parameter in unet.parameters():
            if parameter.requires_grad:
                parameter.mul_(1.5)
        changed = ask(unet)
        with copies:
            assert all(layer.copies is not None for layer in layers)
            assert torch.equal(ask(unet), changed)
    assert not torch.equal(before, changed)
    assert all(layer.copies is None for layer in layers)
    with suppress(ValueError), copies:
        ask(unet).float().mean().backward()
        raise ValueError("broken")
    assert all(layer.copies is None for layer in layers)
    assert all(parameter.grad is None for layer in layers for parameter in layer.parameters_of_factors()[:2])


def test_layers_asked_alone_do_not_use_what_they_share(unet: torch.nn.Module) -> None:
    query, key, value = next(group for group in layers_asked_together(unet) if len(group) == 3)
    x = torch.randn(2, 7, query.in_features).bfloat16()
    with torch.no_grad():
        alone = query(x)
        with HalfFactors([unet], torch.bfloat16):
            assert torch.equal(query(x), alone)
            together = lora_products.lora_products([query, key, value], x)
    assert together is not None
    assert torch.equal(together[0], alone)


class Apart(TorchDispatchMode):
    """Notes every picture whose channels are not together."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        del types
        made = func(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(made):
            if (
                isinstance(tensor, torch.Tensor)
                and tensor.ndim == 4
                and tensor.shape[1] > 4
                and tensor.shape[2] == tensor.shape[3] > 1
            ):
                views = ("slice", "permute", "view", "transpose")
                if not tensor.is_contiguous(memory_format=torch.channels_last) and not any(
                    word in str(func) for word in views
                ):
                    self.found.append(f"{func} {tuple(tensor.shape)}")
        return made


def test_pictures_keep_their_channels_together_and_learn_the_same(unet: torch.nn.Module) -> None:
    exact, truth = learn(copy.deepcopy(unet).float(), halves=False)
    usual, plain = learn(unet, halves=True)
    gates_apart(unet)
    keep_channels_together(unet)
    with Apart() as apart:
        answer, found = learn(unet, halves=True)
    assert not apart.found

    def away(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
        return float(sum((a.float() - b.float()).square().sum() for a, b in zip(one, other, strict=True)))

    assert away([answer], [exact]) < 2 * away([usual], [exact])
    assert away(found, truth) < 2 * away(plain, truth)


@pytest.mark.slow
def test_blocks_of_all_this_are_captured_whole(unet: torch.nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "_BACKEND", "aot_eager")
    gates_apart(unet)
    keep_channels_together(unet)
    usual, plain = learn(unet, halves=True)
    torch._dynamo.utils.counters.clear()
    compile_regions(unet, ("BasicTransformerBlock", *LAID_OUT), 1)
    answer, found = learn(unet, halves=True)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    assert not torch._dynamo.utils.counters["graph_break"]
    assert_close(answer, usual, rtol=0.02, atol=0.02)
    for one, other in zip(found, plain, strict=True):
        assert_close(one, other, rtol=0.05, atol=2e-2 * float(other.abs().max()))
