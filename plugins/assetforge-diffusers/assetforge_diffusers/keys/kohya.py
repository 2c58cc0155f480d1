"""Writes trained layers under the names of kohya's scripts, and reads them back."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from assetforge.errors import UsageError
from assetforge_diffusers.keys.fusing import join, split
from assetforge_diffusers.keys.layer import Layer, kind_of
from assetforge_diffusers.keys.names import UNETS, canonical, is_encoder, known_family, loose_place, place, readable
from assetforge_diffusers.keys.parts import from_parts, split_key, to_parts
from assetforge_diffusers.keys.place import Place

__all__ = ["from_kohya", "to_kohya"]


def to_kohya(family: str, layers: Sequence[Layer]) -> dict[str, Tensor]:
    """The tensors of a file that kohya's scripts and ComfyUI read, with the alpha that was trained.

    Query, key and value of a model that computes them in one layer are joined (see :mod:`assetforge_diffusers.keys.fusing`). LoKr layers cannot be
    joined; a file of them is then written under diffusers' own paths, as LyCORIS does, which ComfyUI reads too.

    Args:
        family: One of :data:`assetforge_diffusers.keys.FORMATS`.
        layers: What was trained. The dtype of their tensors is kept.

    Raises:
        UsageError: No other tool has a name for one of the layers, two of them have one name, or what they are would not survive.
    """
    groups: dict[str, tuple[Place, dict[int, Layer]]] = {}
    for layer, found in zip(layers, _places(family, layers), strict=True):
        _, slots = groups.setdefault(found.name, (found, {}))
        if found.slot in slots:
            raise UsageError(
                f"Two layers would both be called {found.name}: {slots[found.slot].path} and {layer.path}.",
                hint="Write each network to a file of its own.",
            )
        slots[found.slot] = layer
    tensors: dict[str, Tensor] = {}
    for name, (found, slots) in groups.items():
        layer = slots[0] if len(found.shares) == 1 else join(slots, found.shares)
        tensors.update({f"{name}.{part}": tensor for part, tensor in to_parts(layer).items()})
    return tensors


def _places(family: str, layers: Sequence[Layer]) -> list[Place]:
    """Where each layer goes; all of the denoiser's under diffusers' paths if one of them cannot be joined as it should."""
    places = []
    for layer in layers:
        places.append(place(family, layer.component, layer.path))
        if "lora_magnitude_vector" in layer.tensors and family not in UNETS:
            raise UsageError(
                f"No other tool reads DoRA layers of a {family} model as they were trained.",
                hint="Keep the file in diffusers' own form, or train without DoRA.",
            )
    if any(len(found.shares) > 1 and kind_of(layer) == "lokr" for layer, found in zip(layers, places, strict=True)):
        return [
            found if is_encoder(layer.component) else loose_place(layer.path)
            for layer, found in zip(layers, places, strict=True)
        ]
    return places


def from_kohya(family: str, tensors: Mapping[str, Tensor], known: Mapping[str, Sequence[str]]) -> list[Layer]:
    """The layers in a file, whichever of the usual tools wrote it; the inverse of :func:`to_kohya`.

    Args:
        family: One of :data:`assetforge_diffusers.keys.FORMATS`.
        tensors: The file.
        known: Module paths that may be adapted, by component; a file's names can be told apart only by them.

    Raises:
        UsageError: A tensor belongs to none of the known layers or to no method known here, or a layer is not whole.
    """
    known_family(family)
    found: dict[tuple[str, str], dict[str, Tensor]] = {}
    names: dict[tuple[str, str], str] = {}
    for key, tensor in tensors.items():
        name, part = split_key(key)
        spot = canonical(family, name)
        parts = found.setdefault(spot, {})
        names.setdefault(spot, name)
        if part in parts:
            raise UsageError(f"The layer {name} is in the file twice.", hint="Take the file that its trainer wrote.")
        parts[part] = tensor
    index = _index(family, known)
    layers: list[Layer] = []
    for spot, parts in found.items():
        if spot not in index:
            raise UsageError(
                f"The layer {names[spot]} is none of those that are adapted here.",
                hint="Use the targets and the text encoder setting it was trained with.",
            )
        component, shares, paths = index[spot]
        layer = from_parts(component, paths[0] or names[spot], parts)
        layers += [layer] if len(shares) == 1 else split(layer, paths, shares)
    return layers


_Spot = tuple[str, str]
_Content = tuple[str, tuple[int, ...], list[str | None]]


def _index(family: str, known: Mapping[str, Sequence[str]]) -> dict[_Spot, _Content]:
    """What each name in a file means: the component, the proportions and the module paths, from the top."""
    denoisers = [component for component in known if not is_encoder(component)]
    if len(denoisers) > 1:
        raise UsageError(
            f"One file cannot be read into {' and '.join(denoisers)}.", hint="Read it into one network at a time."
        )
    index: dict[_Spot, _Content] = {}
    for component, paths in known.items():
        for path in paths:
            for spot in readable(family, component, path):
                where = (component if is_encoder(component) else "", spot.name)
                empty: _Content = (component, spot.shares, [None] * len(spot.shares))
                index.setdefault(where, empty)[2][spot.slot] = path
    return index
