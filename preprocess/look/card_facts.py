"""What a card says of a store, found out once: for the page and for the document that machines read."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from ...loader import Store
from ...loader.format.geometry import describe_fit
from ...loader.format.recipe import ImageView, View
from ..sources.origins import Origin
from .parquet_preview import Preview


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """A store, and what is to be said of it."""

    store: Store
    attributes: dict[str, Any]
    """Of its root."""
    root_document: bytes
    """The file that those stand in."""
    origin: Origin
    title: str
    reference: str
    """The store as the card names it: its URL, or its path from the card's folder."""
    date: date
    preview: Preview | None
    preview_path: str
    """From the card's folder."""

    @property
    def summary(self) -> str:
        """A sentence or two on what this is."""
        totals = self.attributes["totals"]
        kind = "pairs of frames" if self.store.paired else "samples"
        views = ", ".join(self.store.recipe.views)
        said = f" and {totals['expressions']:,} expressions" if self.store.has_expressions else ""
        return (
            f"{self.origin.name} as training tensors ({views}), each made once from the original pixels: {len(self.store):,} "
            f"{kind} of {totals['images']:,} images with {totals['masks']:,} masks{said}, in a Zarr v3 store that resizeonce "
            "wrote and its loader reads."
        )

    @property
    def tags(self) -> list[str]:
        """What the store is found by."""
        tags = ["segmentation", "zarr", "resizeonce", self.store.dataset_type.lower()]
        return tags + (["referring-expressions"] if self.store.has_expressions else [])

    def protocol(self) -> Iterator[str]:
        """Yield how each view was made of a picture or a mask."""
        for name, view in self.store.recipe.views.items():
            yield f"{name}: {made_by(view)}"


def made_by(view: View) -> str:
    """Return how a view was made, in words."""
    if not isinstance(view, ImageView):
        how = "kept at its own size" if view.size == "own" else f"resized with {view.filter}"
        return f"the mask, {how}" + (", the prompt of the model" if view.role == "prompt" else "")
    normalised = (
        f", then normalised with mean {list(view.mean)} and std {list(view.std)} of value / {view.scale:g}"
    )
    return f"the image, {describe_fit(view)} ({view.filter})" + (
        normalised if view.values == "normalized" else ", values 0 to 255"
    )
