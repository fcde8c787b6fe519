"""Options of `[source]` that several datasets have."""

from typing import Annotated, Any, ClassVar, Literal

import msgspec

from ..decode.images import OnDamage


class SourceOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of `[source]` that every dataset has; each dataset's own come in a subclass."""

    damaged: OnDamage = "reject"
    """What becomes of a picture that its decoder warns about; "accept" takes what Pillow makes of it, grey bands and all.

    Pictures alone: a mask is exact or a reject, and a damaged video is one as well. What was taken is counted.
    """
    follow_links: bool = False
    """Whether a file may be a link that leads out of its folder, as in the caches of Hugging Face, DVC and git-annex."""

    later: ClassVar[frozenset[str]] = frozenset({"damaged", "follow_links"})
    """Options that came after the first stores were made. A subclass adds its own."""

    def attributes(self) -> dict[str, Any]:
        """Return the options as they stand in a store's job: at its default, one that came later is left out.

        So a store made before there was the option is still made by the same job: it can be appended to and resumed.
        """
        described: dict[str, Any] = msgspec.to_builtins(self)
        for field in msgspec.structs.fields(self):
            if field.name in self.later and getattr(self, field.name) == field.default:
                del described[field.name]
        return described


class VideoOptions(SourceOptions, frozen=True, kw_only=True):
    """Options of `[source]` that datasets of videos have besides."""

    take: Literal["pairs", "all"] | Annotated[int, msgspec.Meta(ge=1)] = "pairs"
    """Whether samples are pairs, or each annotated frame by itself ("all"), or every so many-th of them (a number)."""
    gaps: Annotated[tuple[Annotated[int, msgspec.Meta(ge=1)], ...], msgspec.Meta(min_length=1)] = (1, 2, 4, 8)
    """How far apart the two frames of a pair may be, in annotated frames."""
    pairs_per_object: Annotated[int, msgspec.Meta(ge=1)] = 4
    """How many pairs of each object to take at most."""
    seed: int = 0
    """Which of the possible pairs are taken."""
    lone_frames: Literal["repeat", "skip"] = "repeat"
    """What becomes of an object visible in one frame only: that frame paired with itself, or left out."""
