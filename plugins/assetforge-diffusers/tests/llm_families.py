"""What holds for the families with long captions: they never make the host wait for the device."""

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from assetforge_diffusers.families.base import Family, Told


def check_waits_for_nothing(
    family: Family, noisy: torch.Tensor, time: torch.Tensor, told: Told, geometry: torch.Tensor
) -> None:
    """``predict`` works on tensors whose values nobody may read, so that it never waits for the device that has them."""
    with torch.no_grad():
        shape = family.predict(noisy, time, told, geometry).shape  # and whatever the network remembers is made
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            unread = {name: mode.from_tensor(tensor) for name, tensor in told.items()}
            answer = family.predict(mode.from_tensor(noisy), mode.from_tensor(time), unread, mode.from_tensor(geometry))
    assert answer.shape == shape == noisy.shape
