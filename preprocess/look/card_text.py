"""What a card says of a store, and the page that the Hugging Face Hub shows: front matter in YAML, and Markdown below."""

import html
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from ...loader import Store
from ...loader.format.geometry import describe_fit
from ...loader.format.recipe import ImageView, View
from ..printable import printable
from ..run.forecast import format_bytes
from ..sources.origins import Origin
from .parquet_preview import Preview

SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "1B<n<10B")
"""What the Hub calls numbers of samples; each is ten times as many as the one before."""

_SPECIAL = re.compile(r"([\\`*_\[\]#|~])")

FILL_IN = "**To be filled in by the owner.**"


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


def escaped(text: str) -> str:
    r"""Return a stranger's text as Markdown that shows it as it is, in one line, whatever stands in it.

    >>> escaped("a|b <i>_c_")
    'a\\|b &lt;i&gt;\\_c\\_'
    """
    return _SPECIAL.sub(r"\\\1", html.escape(printable(text), quote=False))


def card_text(facts: CardFacts) -> str:
    """Return the page."""
    blocks = [
        front_matter(facts),
        f"# {escaped(facts.title)}",
        escaped(facts.summary),
        *_loading(facts),
        *_contents(facts),
        *_left_out(facts),
        *_making(facts),
        *_licence(facts.origin),
        *_citation(facts.origin),
    ]
    return "\n\n".join(blocks) + "\n"


def front_matter(facts: CardFacts) -> str:
    """Return the metadata that the Hub reads."""
    lines = ["---", f"pretty_name: {_quoted(facts.title)}", *_licence_lines(facts.origin)]
    if facts.origin.language and facts.store.has_expressions:
        lines += ["language:", f"- {facts.origin.language}"]
    lines += ["task_categories:", "- image-segmentation", "- mask-generation"]
    lines += ["size_categories:", f"- {size_category(len(facts.store))}"]
    lines += ["tags:", *(f"- {_quoted(tag)}" for tag in facts.tags)]
    if facts.preview is not None:
        lines += [
            "configs:",
            "- config_name: preview",
            "  data_files:",
            f"  - split: {_split(facts.attributes)}",
            f"    path: {_quoted(facts.preview_path)}",
        ]
    return "\n".join([*lines, "---"])


def size_category(count: int) -> str:
    """Return what the Hub calls a number of samples.

    >>> size_category(999), size_category(1000), size_category(250_000)
    ('n<1K', '1K<n<10K', '100K<n<1M')
    """
    return SIZES[min(max(len(str(count)) - 3, 0), len(SIZES) - 1)]


def _quoted(text: str) -> str:
    """Return a text as YAML, of which JSON's strings are a part."""
    return json.dumps(printable(text), ensure_ascii=False)


def _licence_lines(origin: Origin) -> Iterator[str]:
    identifiers = [licence.identifier for licence in origin.licences]
    if not identifiers:
        yield "license: unknown"
    elif all(identifiers):
        yield "license:"
        yield from (f"- {identifier}" for identifier in dict.fromkeys(identifiers))
    else:
        # The Hub has one name and one link for what it doesn't know: those of the first such licence.
        other = next(licence for licence in origin.licences if not licence.identifier)
        name = other.name if len(identifiers) == 1 else f"{origin.name} licences"
        yield "license: other"
        yield f"license_name: {_quoted(re.sub('[^a-z0-9.]+', '-', name.lower()).strip('-'))}"
        yield f"license_link: {_quoted(other.address)}"


def _split(attributes: dict[str, Any]) -> str:
    """Return the split that the store says it is of, as far as the Hub takes it for a name of one."""
    split = str(attributes["job"]["source"].get("split") or "train")
    return split if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,30}", split) else "train"


def _loading(facts: CardFacts) -> Iterator[str]:
    yield "## Reading it"
    where = (
        ""
        if "://" in facts.reference
        else f" The store is the folder {_code(facts.reference)} beside this page."
    )
    yield (
        f"With the package `resizeonce`; nothing is resized while training.{where} A URL where the store is published works in "
        "place of a path."
    )
    first = next(iter(facts.store.recipe.views)) + ("1" if facts.store.paired else "")
    yield _fenced(
        "python",
        "from resizeonce.loader import BatchLoader\n\n"
        f"for batch in BatchLoader({json.dumps(facts.reference)}, batch_size=2):\n"
        f'    print(batch["{first}"].shape, batch["key"])\n'
        "    break",
    )
    yield "zarr-python, TensorStore and zarrs open it as well." + (
        " Images stored compact need the codec of this package, which zarr-python finds where it is installed."
        if any(view.stored == "compact" for view in facts.store.recipe.images.values())
        else ""
    )


def _contents(facts: CardFacts) -> Iterator[str]:
    store, totals = facts.store, facts.attributes["totals"]
    yield "## What is in it"
    yield _table(("key of a batch", "shape a sample", "dtype", "made of"), _view_rows(facts))
    if store.paired:
        yield "Samples are pairs of frames of a video: each key ends with 1 for the earlier frame, 2 for the later one."
    counts = [(name, f"{totals[name]:,}") for name in ("samples", "images", "masks", "expressions", "scenes")]
    if store.recipe.prompt is not None:
        counts.append(("prompt masks without a cell", f"{totals['empty_prompts']:,}"))
        counts.append(("prompt masks of 1 to 3 cells", f"{totals['small_prompts']:,}"))
    counts += [("parts", f"{len(facts.attributes['parts']):,}"), ("bytes", format_bytes(totals["bytes"]))]
    yield _table(("", "count"), counts)
    if facts.preview is not None:
        yield (
            f"The preview ({_code(facts.preview_path)}) shows {facts.preview.num_rows:,} samples, drawn by chance, as thumbnails "
            "with the outlines of their masks. It is for looking at, not for training."
        )


def _view_rows(facts: CardFacts) -> Iterator[tuple[str, ...]]:
    store = facts.store
    layout = store.array_layout(1, list(store.recipe.views))
    for name, view in store.recipe.views.items():
        known = layout.get(name + store.suffixes[0])
        shape, dtype = ("(H, W)", "bool") if known is None else (str(known[0][1:]), known[1])
        yield f"`{name}`", shape, dtype, escaped(made_by(view))


def _left_out(facts: CardFacts) -> Iterator[str]:
    totals = facts.attributes["totals"]
    rows = [(f"rejected: {stage}", count) for stage, count in totals["rejects"].items()]
    rows += list(totals["skips"].items())
    yield "## What is not in it"
    if not rows:
        yield "Nothing of the dataset was left out."
        return
    yield "What could not be read was rejected, and is listed in `rejects.jsonl` with the reason; the rest was left out, or noted, by rule."
    yield _table(("reason", "count"), ((escaped(reason), f"{count:,}") for reason, count in rows))


def _making(facts: CardFacts) -> Iterator[str]:
    attributes = facts.attributes
    yield "## How it was made"
    yield (
        f"By `resizeonce convert` with the recipe `{facts.store.recipe.name}`, format version {attributes['format_version']}, "
        f"fingerprint `{attributes['fingerprint'][:16]}`. The same options on the same raw files make the same bytes. "
        "`resizeonce verify` checks every byte of the store, and with the raw dataset every tensor."
    )
    options = {"source": attributes["job"]["source"], "store": attributes["job"]["store"]}
    if attributes["job"]["limit"] is not None:
        options["limit"] = attributes["job"]["limit"]
    if attributes["appended"]:
        yield f"What came later was added in {len(attributes['appended']):,} more runs; the options are those of the first."
    yield _fenced("json", json.dumps(options, indent=1, ensure_ascii=True))
    versions = ", ".join(f"{name} {version}" for name, version in attributes["versions"].items())
    yield f"Versions: {escaped(versions)}."


def _licence(origin: Origin) -> Iterator[str]:
    yield "## Licence"
    if origin.note:
        yield origin.note
    if not origin.licences:
        yield f"{FILL_IN} The card's first lines have `license: unknown` until then."
        return
    yield f"The licences are those of {_link(origin.name, origin.address)}; tensors and thumbnails are made of its pictures."
    yield _table(("what", "licence"), ((one.covers, _link(one.name, one.address)) for one in origin.licences))


def _citation(origin: Origin) -> Iterator[str]:
    yield "## Citation"
    yield _fenced("bibtex", "\n\n".join(origin.citations)) if origin.citations else FILL_IN


def _link(name: str, address: str) -> str:
    return f"[{escaped(name)}](<{html.escape(printable(address))}>)" if address else escaped(name)


def _code(text: str) -> str:
    """Return a text as code within a line: longer fences than any in it."""
    shown = printable(text)
    fence = "`" * (max(map(len, re.findall("`+", shown)), default=0) + 1)
    space = " " if "`" in shown else ""
    return f"{fence}{space}{shown}{space}{fence}"


def _fenced(language: str, code: str) -> str:
    return f"```{language}\n{code}\n```"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
