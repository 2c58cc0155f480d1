"""Regression suites per model family and asset type, as data: the questions that every version of an asset is asked.

Each type is asked 12 questions that pictures like its references answer (``core``) and 12 that they do not: new places, light, poses, wardrobe and media (``core-out``),
with as many of each in reserve. That is what a paired test over prompts needs to tell a small loss from chance. The first six of both are the quick size and a fair
sample of the rest. Nothing in a prompt says which sex, age or build an asset has, and a prop may be as small as a ring or as large as a car.
"""

from dataclasses import dataclass

from assetforge.api.specs import SuiteBlock, SuiteSpec

__all__ = ["FAMILY_SETTINGS", "SUITES", "FamilySettings"]

_NEGATIVE = "lowres, blurry, text, watermark"
_QUICK = 6
_STRENGTHS = (0.0, 0.4, 0.6, 0.8, 1.0, 1.2)


@dataclass(frozen=True, slots=True)
class FamilySettings:
    """How a family is asked: what its makers recommend."""

    title: str
    steps: int
    cfg: float
    size: tuple[int, int]
    sampler: str = "default"


FAMILY_SETTINGS = {
    "sd15": FamilySettings("Stable Diffusion 1.x", 28, 6.5, (512, 512), "dpm++"),
    "sd2": FamilySettings("Stable Diffusion 2.x", 28, 7.0, (768, 768), "dpm++"),
    "sdxl": FamilySettings("Stable Diffusion XL", 30, 6.0, (1024, 1024), "dpm++"),
    "sd3": FamilySettings("Stable Diffusion 3.5", 28, 4.5, (1024, 1024)),
    "flux1": FamilySettings("FLUX.1", 28, 3.5, (1024, 1024)),
    "flux2": FamilySettings("FLUX.2", 28, 4.0, (1024, 1024)),
    "qwen-image": FamilySettings("Qwen-Image", 30, 4.0, (1024, 1024)),
    "z-image": FamilySettings("Z-Image", 28, 5.0, (1024, 1024)),
    "wan": FamilySettings("Wan", 30, 5.0, (832, 480)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Questions:
    """What an asset type is asked.

    Attributes:
        core: Pictures like the references.
        core_more: Their reserve.
        out: Pictures unlike them.
        out_more: Their reserve.
        bleed: Pictures without the trigger, of the same class and of none.
        bleed_more: Their reserve.
        beside: Whom the asset stands beside.
        pairs: Pictures of both.
    """

    core: tuple[str, ...]
    core_more: tuple[str, ...]
    out: tuple[str, ...]
    out_more: tuple[str, ...]
    bleed: tuple[str, ...]
    bleed_more: tuple[str, ...]
    beside: str
    pairs: tuple[str, ...]

    def blocks(self) -> tuple[SuiteBlock, ...]:
        """The blocks of a suite; every block has noise of its own."""
        return (
            SuiteBlock(
                name="core",
                prompts=self.core,
                reserve=self.core_more,
                seeds=(1021, 1022),
                negative=_NEGATIVE,
                quick=_QUICK,
            ),
            SuiteBlock(
                name="core-out",
                prompts=self.out,
                reserve=self.out_more,
                seeds=(1023, 1024),
                negative=_NEGATIVE,
                quick=_QUICK,
            ),
            SuiteBlock(
                name="strength",
                prompts=(self.core[0], self.core[4], self.out[0], self.out[3]),
                seeds=(1031,),
                strengths=_STRENGTHS,
                negative=_NEGATIVE,
            ),
            SuiteBlock(
                name="bleed",
                prompts=self.bleed,
                reserve=self.bleed_more,
                seeds=(1025, 1026),
                negative=_NEGATIVE,
            ),
            SuiteBlock(
                name="pairs",
                prompts=self.pairs,
                seeds=(1027, 1028),
                negative=_NEGATIVE,
                beside=self.beside,
            ),
        )


_CHARACTER = _Questions(
    core=(
        "close-up portrait of {trigger} {class}, soft window light, plain grey background, 85mm lens",
        "{trigger} {class} in three-quarter view, head and shoulders, overcast daylight, plain wall",
        "{trigger} {class} in profile facing left, rim light, dark seamless backdrop",
        "medium shot of {trigger} {class} facing the camera, arms at the sides, even studio light",
        "full body shot of {trigger} {class} standing on a quiet pavement, eye level, 35mm lens, overcast",
        "{trigger} {class} sitting on a wooden chair, framed from the knees up, large softbox from the left",
        "{trigger} {class} looking down, close-up, warm lamp light",
        "{trigger} {class} from a low angle, medium shot, pale sky",
        "{trigger} {class} looking up at the camera from a high angle, open shade",
        "{trigger} {class} smiling slightly, chest up, garden out of focus behind, golden hour",
        "{trigger} {class} walking towards the camera, full figure, empty corridor, daylight from the far end",
        "{trigger} {class} leaning against a brick wall, framed from the thighs up, hard afternoon sun",
    ),
    core_more=(
        "extreme close-up of the face of {trigger} {class}, even light, sharp focus on the eyes",
        "{trigger} {class} looking over the left shoulder, head and shoulders, studio backdrop",
        "{trigger} {class} standing at a window, medium shot, sheer curtains, morning light",
        "{trigger} {class} walking, seen from the side, full figure, plain light background",
        "{trigger} {class} with folded arms, waist up, concrete wall, diffuse light",
        "{trigger} {class} sitting on stone steps, full figure, 50mm lens, cloudy day",
        "{trigger} {class} speaking, medium close-up, interior, table lamps",
        "{trigger} {class} frowning, tight close-up, side light from the right",
        "{trigger} {class} in a doorway, full figure, light from behind",
        "{trigger} {class} reading a letter at a table, medium shot, desk lamp",
        "{trigger} {class} lying on grass, head and shoulders from above, open shade",
        "{trigger} {class} turning round, medium shot, natural light, slight motion blur",
    ),
    out=(
        "{trigger} {class} in heavy rain at night, neon light reflected in wet asphalt, medium shot",
        "{trigger} {class} in a nineteenth-century frock coat, library, oil lamp light, waist up",
        "{trigger} {class} running through a birch forest, full figure, camera moving alongside",
        "charcoal drawing of {trigger} {class}, head and shoulders, rough paper",
        "{trigger} {class} in torn and muddy clothes after a long march, full figure, dusk",
        "{trigger} {class} laughing at a kitchen table, candle light, shallow depth of field",
        "{trigger} {class} under water, shafts of light from above, wide shot",
        "{trigger} {class} climbing a ladder, seen from below, factory hall, sodium light",
        "{trigger} {class} in a spacesuit without the helmet, airlock, cold fluorescent light, chest up",
        "{trigger} {class} crossing a sand dune, wide shot, hard noon light",
        "watercolour of {trigger} {class} riding a bicycle, white paper",
        "{trigger} {class} from behind, looking over the shoulder, snowfall, blue hour",
    ),
    out_more=(
        "{trigger} {class} in a crowded night market, medium shot, coloured lanterns",
        "{trigger} {class} in a heavy winter coat and fur hat, snowstorm, waist up",
        "{trigger} {class} dancing, full figure, single spotlight, black background",
        "bronze statue of {trigger} {class} on a town square, overcast",
        "{trigger} {class} at the helm of a small boat, spray, storm light, medium shot",
        "{trigger} {class} in evening dress on a marble staircase, chandelier light, full figure",
        "{trigger} {class} kneeling beside a campfire, lit from below, night",
        "black and white photograph of {trigger} {class}, 1930s, film grain, head and shoulders",
        "{trigger} {class} behind a rain-streaked window, seen from outside, blue hour",
        "{trigger} {class} in a hospital gown in a long corridor, top light, medium shot",
        "{trigger} {class} jumping across a gap between two roofs, low angle, sunset",
        "woodcut of {trigger} {class} in profile, two colours",
    ),
    bleed=(
        "portrait of a {class}, soft window light, plain grey background, 85mm lens",
        "full body shot of a {class} standing on a quiet pavement, overcast",
        "a crowd of people crossing a street, daylight",
        "an empty street in the rain at night, neon light",
        "a bowl of fruit on a wooden table, side light",
        "a mountain lake at dawn, wide shot",
    ),
    bleed_more=(
        "a {class} in profile, rim light, dark backdrop",
        "two people talking at a kitchen table, lamp light",
        "a child with a kite on a beach, backlight",
        "a dog asleep on a doormat, afternoon sun",
        "an old harbour with fishing boats, overcast",
        "a workshop with tools on the wall, daylight from a side window",
    ),
    beside="cast:character,prop",
    pairs=(
        "{trigger} {class} and {other} {other_class} side by side, medium shot, even daylight",
        "{trigger} {class} on the left and {other} {other_class} on the right, plain background, studio light",
        "{other} {other_class} in the foreground and {trigger} {class} behind, interior, lamp light",
        "wide shot of {trigger} {class} and {other} {other_class} in an empty street at night, street lights",
    ),
)

_PROP = _Questions(
    core=(
        "{trigger} {class} on a seamless light background, studio light, catalogue photograph",
        "close-up photograph of {trigger} {class}, 100mm macro lens, soft light",
        "{trigger} {class} on a wooden floor, window light from the left",
        "{trigger} {class} seen from above, plain background, even light",
        "{trigger} {class} in three-quarter view, light grey background, large softbox",
        "{trigger} {class} seen from the side, eye level, neutral background",
        "{trigger} {class} in a living room, warm lamp light",
        "{trigger} {class} on a stone floor, overcast daylight, 50mm lens",
        "{trigger} {class} from a low angle, plain wall, hard light",
        "back view of {trigger} {class}, neutral background, soft light",
        "{trigger} {class} on a white sheet, top light, sharp shadows",
        "{trigger} {class} in the middle of an empty room, daylight from a tall window",
    ),
    core_more=(
        "detail of the surface of {trigger} {class}, raking light, macro photograph",
        "{trigger} {class} against a black background, rim light",
        "{trigger} {class} in a workshop, tools around it, work lamp",
        "{trigger} {class} beside a window, morning light, garden out of focus",
        "{trigger} {class} from slightly above, 35mm lens, tiled floor",
        "{trigger} {class} filling the frame, front view, even light",
        "{trigger} {class} on a red carpet, tungsten light",
        "{trigger} {class} beside a measuring stick, plain background, reference photograph",
        "{trigger} {class} in a storage room, fluorescent light",
        "{trigger} {class} in the corner of a room, long shot, soft daylight",
        "{trigger} {class} on dark glass with its reflection, studio light",
        "{trigger} {class} turned by forty-five degrees, neutral background, diffuse light",
    ),
    out=(
        "{trigger} {class} in heavy rain on a cobbled street at night, neon reflections",
        "a person touching {trigger} {class} with both hands, medium shot, daylight",
        "{trigger} {class} half buried in sand, sunset, long shadows",
        "pencil sketch of {trigger} {class}, construction lines, white paper",
        "{trigger} {class} covered in dust and cobwebs in an attic, a single shaft of light",
        "{trigger} {class} in deep snow, footprints around it, blue hour",
        "{trigger} {class} at the bottom of a clear stream, ripples, sunlight from above",
        "{trigger} {class} worn and dented after many years, scrapyard, overcast",
        "{trigger} {class} falling through the air, motion blur, bright sky",
        "{trigger} {class} behind glass in a museum, spotlights",
        "oil painting of {trigger} {class}, dark background",
        "{trigger} {class} in a dark cellar, lit by a torch from the side",
    ),
    out_more=(
        "{trigger} {class} carried through a crowd, seen from behind, evening",
        "{trigger} {class} overgrown with moss in a forest, soft green light",
        "isometric illustration of {trigger} {class}, flat colours",
        "{trigger} {class} on the deck of a ship, spray, storm light",
        "{trigger} {class} in the desert at noon, heat haze, wide shot",
        "{trigger} {class} reflected in a broken mirror, cold light",
        "{trigger} {class} under a half-removed dust sheet, theatre store, work light",
        "{trigger} {class} beside a fire, night, close-up",
        "{trigger} {class} floating in a space station, cold fluorescent light",
        "blueprint of {trigger} {class}, white lines on blue",
        "a child beside {trigger} {class}, garden, backlight",
        "{trigger} {class} on a theatre stage, single spotlight, wide shot",
    ),
    bleed=(
        "a {class} on a wooden floor, window light from the left",
        "a {class} on a seamless light background, catalogue photograph",
        "an empty wooden table, window light",
        "a person holding a cup, medium shot, daylight",
        "a street with parked bicycles, overcast",
        "a cliff above the sea, wide shot",
    ),
    bleed_more=(
        "a {class} in a workshop, work lamp",
        "a shelf with books and a plant, lamp light",
        "a portrait of a person, plain background, studio light",
        "a cat on a staircase, soft daylight",
        "an empty stage with a curtain, single spotlight",
        "a field of wheat, hard noon light",
    ),
    beside="cast:character,prop",
    pairs=(
        "{trigger} {class} in front of {other} {other_class}, medium shot, window light",
        "{other} {other_class} with {trigger} {class} beside it, plain background, studio light",
        "close-up of {trigger} {class}, {other} {other_class} out of focus behind, lamp light",
        "wide shot of {other} {other_class} and {trigger} {class} in an empty room, light from the side",
    ),
)

_STYLE = _Questions(
    core=(
        "{trigger}, portrait of a woman looking at the viewer",
        "{trigger}, a street with parked cars, afternoon",
        "{trigger}, a mountain landscape with a lake",
        "{trigger}, a kitchen with a table and two chairs",
        "{trigger}, an old man with a hat on a bench, full figure",
        "{trigger}, a harbour with fishing boats at dawn",
        "{trigger}, two people talking in a doorway",
        "{trigger}, a cat on a window sill",
        "{trigger}, a jug and a bowl of fruit",
        "{trigger}, a narrow alley with washing lines",
        "{trigger}, a child running across a field",
        "{trigger}, a railway station with people waiting, night",
    ),
    core_more=(
        "{trigger}, portrait of a man in profile",
        "{trigger}, a village church in winter",
        "{trigger}, a bedroom with an unmade bed, morning",
        "{trigger}, trees along a canal",
        "{trigger}, a market stall with vegetables",
        "{trigger}, a horse in a stable",
        "{trigger}, hands holding a letter, close-up",
        "{trigger}, a bridge over a river in the fog",
        "{trigger}, a staircase seen from above",
        "{trigger}, empty tables in front of a small restaurant, evening",
        "{trigger}, a lighthouse on a rock",
        "{trigger}, a family at dinner, lamp light",
    ),
    out=(
        "{trigger}, technicians around a spaceship in a hangar",
        "{trigger}, a dog jumping over a fence",
        "{trigger}, a city at night, aerial view",
        "{trigger}, an eye, extreme close-up",
        "{trigger}, a knight in armour in a burning forest",
        "{trigger}, a laboratory with glassware, cold light",
        "{trigger}, a crowd in front of a stage, coloured light",
        "{trigger}, a coral reef with fish",
        "{trigger}, a car chase in the rain, low angle",
        "{trigger}, a robot repairing a clock",
        "{trigger}, an explosion in a desert, wide shot",
        "{trigger}, a dinosaur skeleton in a museum hall",
    ),
    out_more=(
        "{trigger}, a snowstorm at a polar station",
        "{trigger}, a boxing match, ring lights",
        "{trigger}, a dragon above a castle",
        "{trigger}, an astronaut on a red planet",
        "{trigger}, living cells under a microscope",
        "{trigger}, a foundry with flying sparks",
        "{trigger}, a carnival at night, fireworks",
        "{trigger}, the control room of a submarine, red light",
        "{trigger}, a tea ceremony, seen from straight above",
        "{trigger}, a volcano erupting at dusk",
        "{trigger}, a trapeze artist in a circus tent",
        "{trigger}, a flooded library, reflections",
    ),
    bleed=(
        "portrait of a woman looking at the viewer",
        "a street with parked cars, afternoon",
        "a mountain landscape with a lake",
        "a jug and a bowl of fruit",
        "a city at night, aerial view",
        "a robot repairing a clock",
    ),
    bleed_more=(
        "an old man with a hat on a bench, full figure",
        "a kitchen with a table and two chairs",
        "a harbour with fishing boats at dawn",
        "a dog jumping over a fence",
        "a laboratory with glassware, cold light",
        "a child running across a field",
    ),
    beside="cast:character",
    pairs=(
        "{trigger}, portrait of {other} {other_class}, head and shoulders",
        "{trigger}, {other} {other_class} walking along a street, full figure",
        "{trigger}, {other} {other_class} at a table, lamp light, medium shot",
        "{trigger}, {other} {other_class} in a wide landscape, evening",
    ),
)

_BLOCKS = {"character": _CHARACTER.blocks(), "prop": _PROP.blocks(), "style": _STYLE.blocks()}

SUITES = tuple(
    SuiteSpec(
        name=f"{asset_type}-{family}",
        title=f"{asset_type.capitalize()} on {settings.title}",
        summary="Like the references and unlike them, strengths, without the trigger word, and beside the rest of the cast.",
        family=family,
        asset_types=(asset_type,),
        blocks=blocks,
        steps=settings.steps,
        cfg=settings.cfg,
        width=settings.size[0],
        height=settings.size[1],
        sampler=settings.sampler,
    )
    for family, settings in FAMILY_SETTINGS.items()
    for asset_type, blocks in _BLOCKS.items()
)
