"""Recipes: a table of named views, each what a picture or a mask becomes. A store spells its recipe out.

The contract between writer, loader and verifier, as `layout` is for arrays. How views are made is
`preprocess.tensors`' business; how they are delivered is the loader's.
"""

import re
from collections.abc import Mapping
from math import isfinite
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

PIXEL_SIZE = 448
"""Side of the image for the vision-language model, in pixels (InternVL)."""
GROUNDING_SIZE = 1024
"""Side of the image and mask for the segmenter, in pixels (SAM2)."""
PROMPT_SIZE = PIXEL_SIZE // 14 // 2
"""Side of the prompt mask, in cells: patches of 14 pixels, joined 2 x 2 by pixel shuffle."""

Side = Annotated[int, msgspec.Meta(ge=1, le=4096)]
"""Of a view, in pixels or cells."""
Level = Annotated[int, msgspec.Meta(ge=0, le=255)]
Positive = Annotated[float, msgspec.Meta(ge=1e-6, lt=1e6)]
"""What levels are divided by: small enough to be 0 in single precision, it would make infinite values."""
Mean = Annotated[float, msgspec.Meta(ge=-1e6, le=1e6)]
Channels: TypeAlias = tuple[Mean, Mean, Mean]
Spreads: TypeAlias = tuple[Positive, Positive, Positive]

ImageFilter = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
"""Pillow's of that name."""
MaskFilter = Literal["pillow-nearest", "torch-nearest", "cover", "half", "touch"]
Fit = Literal["squash", "pad", "pad-first", "crop"]
ImageForm = Literal["uint8", "float32", "compact"]
Arithmetic = Literal["pillow-12", "pillow-13"]


class ImageView(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="image"):
    """What a picture becomes.

    A normalized view is float32, (v / scale - mean) / std, each step rounded to float32; others are uint8, 0..255.
    """

    size: tuple[Side, Side]
    """Height and width in pixels."""
    filter: ImageFilter = "bilinear"
    fit: Fit = "squash"
    """squash: the whole picture, its aspect ratio lost. pad: the whole picture at the top left, `pad` below or to the right.
    pad-first: the picture on a square of colour `pad`, then that squashed. crop: the shorter side fitted, the middle kept."""
    align: Literal["centre", "corner"] = "centre"
    """Where on its square pad-first puts the picture."""
    pad: tuple[Level, Level, Level] = (0, 0, 0)
    """Colour around the picture; a normalized view of fit "pad" is 0.0 there instead, once it is normalized."""
    values: Literal["normalized", "uint8"] = "normalized"
    mean: Channels = IMAGENET_MEAN
    std: Spreads = IMAGENET_STD
    scale: Positive = 255.0
    stored: ImageForm = "uint8"
    """uint8 is normalised while loading, to the same bits, at a quarter of the bytes of float32; compact is that, compressed."""

    def __post_init__(self) -> None:
        if not all(map(isfinite, (*self.mean, *self.std, self.scale))):
            raise ValueError("mean, std and scale are finite numbers")
        if self.values == "uint8" and self.stored == "float32":
            raise ValueError('its values are "uint8": stored is "uint8" or "compact"')
        if self.values == "normalized" and self.fit == "pad" and self.pad != (0, 0, 0):
            raise ValueError("a normalized, padded view is 0.0 around the picture: leave out pad")


class MaskView(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="mask"):
    """What a mask becomes: bool, over what an image view shows of the picture."""

    over: str
    """Name of that image view; of no meaning at its own size."""
    size: tuple[Side, Side] | Literal["own"]
    """Height and width in pixels; "own" is the mask at its own resolution, stored as run lengths."""
    filter: MaskFilter = "pillow-nearest"
    role: Literal["", "prompt"] = ""
    """The prompt is what `prompt_cells` counts."""

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width in pixels; (0, 0) at its own size."""
        return (0, 0) if self.size == "own" else self.size


View: TypeAlias = ImageView | MaskView

DEFAULT_VIEWS: dict[str, View] = {
    "pixel_values": ImageView(size=(PIXEL_SIZE, PIXEL_SIZE)),
    "g_pixel_values": ImageView(size=(GROUNDING_SIZE, GROUNDING_SIZE), values="uint8"),
    "prompt_masks": MaskView(over="pixel_values", size=(PROMPT_SIZE, PROMPT_SIZE), role="prompt"),
    "masks": MaskView(over="g_pixel_values", size=(GROUNDING_SIZE, GROUNDING_SIZE)),
}
"""Of the recipe `default`, and by names of each store of format versions 1 and 2."""

FIRST_FILTERS = frozenset({"bilinear", "bicubic", "lanczos", "pillow-nearest", "torch-nearest", "cover"})
"""Those that format versions 1 and 2 know."""

MAX_VIEWS = 16

RESERVED_NAMES = frozenset(
    {
        "area", "boxes", "box", "category", "dataset_type", "expressions", "has_paired_frame", "image", "image_sizes", "key",
        "mask", "name", "object_id", "object_ids", "objects", "arithmetic", "path", "prompt_cells", "scene", "seed", "size",
        "source", "sources", "time", "times", "views", "visible",
    }
)  # fmt: skip
"""Keys of a batch, columns of a store and keys of a recipe: no view is called so."""

RESERVED_ENDINGS = ("_size", "_sizes", "_offsets", "_bytes", "_runs")

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}(?<![0-9])")


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """A table of views."""

    name: Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9-]{1,64}\Z")]
    """Of one that comes with the package, or "custom"."""
    views: Annotated[dict[str, View], msgspec.Meta(min_length=1, max_length=MAX_VIEWS)]
    """By their names, which are keys of a batch."""
    arithmetic: Arithmetic | None = None
    """Whose of Pillow's versions resizes images; None is the installed one's, which a store's `versions` tell."""

    def __post_init__(self) -> None:
        for name, view in self.views.items():
            if not _NAME.fullmatch(name) or name in RESERVED_NAMES or name.endswith(RESERVED_ENDINGS):
                raise ValueError(
                    f"no view is called {name!r:.100}: names are lower-case letters, digits and _, begin with a letter, end "
                    f"with another character than a digit or {', '.join(RESERVED_ENDINGS)}, and are none of "
                    f"{', '.join(sorted(RESERVED_NAMES))}"
                )
            if isinstance(view, MaskView) and not isinstance(self.views.get(view.over), ImageView):
                images = ", ".join(self.images) or "none"
                raise ValueError(
                    f"{name} lies over {view.over!r:.100}; the recipe's image views are {images}"
                )
        prompts = [name for name, view in self.masks.items() if view.role == "prompt"]
        if len(prompts) > 1:
            raise ValueError(f"{' and '.join(prompts)} have the role prompt, and one may have it")
        if any(view.role == "prompt" and view.size == "own" for view in self.masks.values()):
            raise ValueError("a prompt has a size of its own: it is a grid of cells")

    @property
    def images(self) -> dict[str, ImageView]:
        """The views of pictures."""
        return {name: view for name, view in self.views.items() if isinstance(view, ImageView)}

    @property
    def masks(self) -> dict[str, MaskView]:
        """The views of masks."""
        return {name: view for name, view in self.views.items() if isinstance(view, MaskView)}

    @property
    def prompt(self) -> str | None:
        """Name of the view whose cells are counted, None where there is none."""
        return next((name for name, view in self.masks.items() if view.role == "prompt"), None)

    @property
    def is_first_form(self) -> bool:
        """Whether format versions 1 and 2 can spell it out: the four views, as they knew them."""
        return list(self.views) == list(DEFAULT_VIEWS) and all(
            _is_first_form(view, DEFAULT_VIEWS[name]) for name, view in self.views.items()
        )

    @property
    def format_version(self) -> int:
        """The oldest format version that can say all of it."""
        if not self.is_first_form:
            return 3
        return 2 if any(view.stored == "compact" for view in self.images.values()) else 1

    def attributes(self) -> dict[str, Any]:
        """Return the recipe as JSON values, as a store's attributes spell it out (docs/format.md)."""
        spelt: dict[str, Any] = {"name": self.name}
        if self.is_first_form:
            spelt |= {name: _spell_first_form(name, view) for name, view in self.views.items()}
            spelt |= {"mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD)}
        else:
            # A list: keys of JSON that is digested are sorted, and the order of views is part of the recipe.
            spelt["views"] = [{"name": name} | msgspec.to_builtins(view) for name, view in self.views.items()]
        return spelt if self.arithmetic is None else spelt | {"arithmetic": self.arithmetic}


DEFAULT_RECIPE = Recipe(name="default", views=DEFAULT_VIEWS)


def read_recipe(attributes: Mapping[str, Any]) -> Recipe:
    """Return the recipe that a store's attributes spell out.

    Raises:
        msgspec.ValidationError: it is none.
    """
    others = {key: attributes[key] for key in ("name", "arithmetic") if key in attributes}
    if "views" in attributes:
        listed = msgspec.convert(attributes["views"], list[dict[str, Any]])
        views: dict[str, Any] = {str(view.get("name")): view for view in listed}
        if len(views) != len(listed):
            raise msgspec.ValidationError("two views have one name")
    else:
        if missing := DEFAULT_VIEWS.keys() - attributes.keys():
            raise msgspec.ValidationError(f"the recipe's views are missing: {', '.join(sorted(missing))}")
        views = {name: _read_first_form(name, attributes[name]) for name in DEFAULT_VIEWS}
    return msgspec.convert(others | {"views": views}, Recipe)


def shown_size(view: ImageView, height: int, width: int) -> tuple[int, int]:
    """Return how much of a view of fit "pad" is picture: (height, width) in pixels, from its top left corner.

    The longer side fits, relative to the view's own sides, and each is rounded as SAM's `ResizeLongestSide` does
    (segment_anything/utils/transforms.py, get_preprocess_shape): int(side * scale + 0.5).
    """
    tall, wide = view.size
    scale = min(tall * 1.0 / height, wide * 1.0 / width)
    return max(1, min(tall, int(height * scale + 0.5))), max(1, min(wide, int(width * scale + 0.5)))


def is_own_size(view: View) -> bool:
    """Whether a view is a mask at its own resolution: it has no place in the arrays of a batch."""
    return isinstance(view, MaskView) and view.size == "own"


def delivered_form(view: View) -> tuple[object, ...]:
    """Return what views of several stores must have in common to be in one batch: shape, dtype and normalisation."""
    if isinstance(view, MaskView):
        return view.size, view.role
    norm = (view.mean, view.std, view.scale) if view.values == "normalized" else ()
    return (view.size, view.values, *norm, view.fit == "pad")


def _is_first_form(view: View, default: View) -> bool:
    """Whether a view differs from that of the default recipe in side, filter and stored form only, as it could from the first."""
    if view.size == "own" or view.size[0] != view.size[1] or view.filter not in FIRST_FILTERS:
        return False
    if isinstance(view, ImageView) and isinstance(default, ImageView):
        default = msgspec.structs.replace(default, stored=view.stored)
    return view == msgspec.structs.replace(default, size=view.size, filter=view.filter)


def _spell_first_form(name: str, view: View) -> dict[str, Any]:
    spelt: dict[str, Any] = {"filter": view.filter, "size": view.size[0]}
    # Stores of format version 1 don't say so of g_pixel_values, and the same job must have the same fingerprint.
    if isinstance(view, ImageView) and (name == "pixel_values" or view.stored != "uint8"):
        spelt["stored"] = view.stored
    return spelt


class _FirstForm(msgspec.Struct, frozen=True):
    size: Side
    filter: str
    stored: ImageForm = "uint8"


def _read_first_form(name: str, spelt: Any) -> dict[str, Any]:
    read = msgspec.convert(spelt, _FirstForm)
    settings: dict[str, Any] = {"size": (read.size, read.size), "filter": read.filter}
    default = DEFAULT_VIEWS[name]
    if isinstance(default, ImageView):
        settings["stored"] = read.stored
    elif "stored" in spelt:
        raise msgspec.ValidationError(f"{name} has no stored form")
    return dict(msgspec.to_builtins(default) | settings)
