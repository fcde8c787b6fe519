"""What the commands print: forecasts, closing summaries, and what is in a store."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

from ...loader.format.geometry import describe_size
from ...loader.format.recipe import IMAGENET_MEAN, IMAGENET_STD, Arithmetic, ImageView, View, read_recipe
from ..doctor.doubts import MAX_EMPTY_PROMPTS
from ..doctor.skips import KEEPING_OPTIONS
from ..look.rejects import reject_kinds
from ..run.forecast import Forecast, format_bytes
from ..run.part_range import describe_numbers
from ..run.report import RangeReport, Report
from ..sources.files.leftovers import NOTE, SAME_FILE
from ..sources.records import DAMAGE_ACCEPTED, Reject
from ..store.root import read_rejects
from ..tensors.arithmetic import INSTALLED, arithmetic_of


def forecast_lines(forecast: Forecast) -> Iterator[str]:
    """Yield a forecast as lines."""
    basis = (
        "every scene read"
        if forecast.is_exact
        else f"from {forecast.num_read} of {forecast.num_scenes:,} scenes"
    )
    about = "" if forecast.is_exact else "about "
    yield f"scenes    {forecast.num_scenes:,}"
    yield f"images    {about}{forecast.images:,}"
    yield f"masks     {about}{forecast.masks:,}"
    yield f"samples   {about}{forecast.samples:,}"
    yield f"rejects   {about}{forecast.rejects:,}"
    yield f"disk      about {format_bytes(forecast.store_bytes)} ({basis})"
    if forecast.undecided:
        yield f"warning   {arithmetic_warning(forecast)}"


def arithmetic_warning(forecast: Forecast) -> str:
    """Return what to know where Pillow 12 and 13 resize pictures to other bytes."""
    other = next(name for name in get_args(Arithmetic) if name != INSTALLED)
    return (
        f"{forecast.undecided / max(forecast.images, 1):.0%} of the images are so tall that Pillow 12 and 13 resize them to "
        f"other bytes: the store has the installed {INSTALLED}'s. For a trainer that resizes with the other one, give --set "
        f"recipe.arithmetic={other}; with --set recipe.arithmetic={INSTALLED} the store says it on purpose"
    )


def report_lines(report: Report) -> Iterator[str]:
    """Yield the closing summary of a conversion as lines."""
    if report.was_complete:
        yield f"{report.store} is complete already; nothing was written"
    totals = report.attributes["totals"]
    prompt = read_recipe(report.attributes["recipe"]).prompt
    yield from totals_lines(totals, prompt)
    if not report.was_complete:
        rate = totals["images"] / report.seconds if report.seconds else 0.0
        yield f"time      {report.seconds:,.1f} s ({rate:,.1f} images/s)"
        if report.engine:
            yield f"engine    {report.engine}"
    yield from reject_lines(read_rejects(report.root))
    yield from warning_lines(totals, prompt)


def range_lines(report: RangeReport) -> Iterator[str]:
    """Yield the closing summary of the conversion of a range of parts as lines."""
    if report.was_complete:
        yield f"{report.store} is complete already; nothing was written"
        yield from totals_lines(report.totals, report.prompt)
        return
    yield f"parts     {describe_numbers(report.parts) or 'none'}, all there"
    yield from totals_lines(report.totals, report.prompt)
    yield f"time      {report.seconds:,.1f} s"
    yield f"engine    {report.engine}"
    yield f"rejects   {report.num_rejects:,}"
    if report.missing:
        numbers = describe_numbers(report.missing)
        shortened = numbers if len(numbers) <= 200 else f"{numbers[:200]}..."
        yield f"to do     {len(report.missing):,} parts of other ranges: {shortened}"
    else:
        yield f"to do     every part is there: resizeonce finish {report.store}"


def info_lines(store: Path | str, attributes: dict[str, Any], rejects: Iterable[Reject]) -> Iterator[str]:
    """Yield what is in a store as lines."""
    recipe = read_recipe(attributes["recipe"])
    yield f"store     {store}"
    yield f"dataset   {attributes['dataset']} (dataset_type {attributes['dataset_type']!r})"
    yield f"format    version {attributes['format_version']}, fingerprint {attributes['fingerprint'][:16]}"
    arithmetic = recipe.arithmetic or arithmetic_of(attributes["versions"].get("pillow", ""))
    yield f"recipe    {recipe.name}" + (f", arithmetic of {arithmetic}" if arithmetic else "")
    for name, view in recipe.views.items():
        yield f"          {name:<15} {_describe_view(view)}"
    if columns := attributes.get("columns"):
        yield f"columns   {', '.join(columns)}"
    yield f"samples   {'pairs of frames' if attributes['paired'] else 'single frames'}"
    yield f"parts     {len(attributes['parts'])}"
    yield from totals_lines(attributes["totals"], recipe.prompt)
    yield "made with " + ", ".join(f"{name} {version}" for name, version in attributes["versions"].items())
    yield from reject_lines(rejects)
    yield from warning_lines(attributes["totals"], recipe.prompt)


def _describe_view(view: View) -> str:
    """Return size, filter and whatever is not as in most recipes."""
    described = [describe_size(view), view.filter]
    if isinstance(view, ImageView):
        described += [view.fit] if view.fit != "squash" else []
        is_usual = (view.mean, view.std, view.scale) == (IMAGENET_MEAN, IMAGENET_STD, 255.0)
        if view.values == "normalized" and not is_usual:
            described.append(f"mean {list(view.mean)}, std {list(view.std)}, scale {view.scale:g}")
        described.append(f"stored as {view.stored}")
    return ", ".join(described)


def totals_lines(totals: dict[str, Any], prompt: str | None) -> Iterator[str]:
    """Yield the counts of a store as lines."""
    yield f"images    {totals['images']:,}"
    yield f"masks     {totals['masks']:,}"
    yield f"samples   {totals['samples']:,}"
    if totals["expressions"]:
        yield f"sentences {totals['expressions']:,}"
    if prompt is not None:
        masks = totals["masks"] or 1
        empty, small = totals["empty_prompts"], totals["small_prompts"]
        yield f"prompts   {empty:,} without a cell ({empty / masks:.1%}), {small:,} with 1 to 3 ({small / masks:.1%})"
    yield f"bytes     {format_bytes(totals['bytes'])}"
    if totals["unsure_turns"]:
        yield f"turns     {totals['unsure_turns']:,} images kept as stored, though EXIF asks for a turn nothing confirms"
    for reason, count in totals["skips"].items():
        if reason == DAMAGE_ACCEPTED:
            yield f'damaged   {count:,} pictures taken as far as Pillow decodes them (source.damaged = "accept")'
        else:
            label = "twice" if reason == SAME_FILE else "noted" if reason.startswith(NOTE) else "left out"
            yield f"{label:<9} {count:,}: {reason.removeprefix(NOTE)}"


def reject_lines(rejects: Iterable[Reject]) -> Iterator[str]:
    """Yield rejects by stage and kind of reason, the most frequent first."""
    kinds = reject_kinds(rejects)
    yield f"rejects   {sum(kind.count for kind in kinds):,}"
    for kind in kinds:
        first = kind.examples[0]
        yield f"          {kind.count:,} at {kind.stage}: {first.reason} (first: {first.key}, {first.path})"


def warning_lines(totals: dict[str, Any], prompt: str | None) -> Iterator[str]:
    """Yield a warning where there is no sample at all, and one where prompts vanish."""
    if not totals["samples"]:
        yield f"warning   the store holds no sample: {_why_empty(totals)}"
    if totals["masks"] and totals["empty_prompts"] / totals["masks"] > MAX_EMPTY_PROMPTS:
        share = totals["empty_prompts"] / totals["masks"]
        yield (
            f"warning   {share:.0%} of the prompt masks have no cell: the object fell between the sampled pixels. "
            "Filter them while loading (min_prompt_cells=1), or convert with "
            f"--set recipe.{prompt}.filter=cover, under which no object vanishes."
        )


def _why_empty(totals: dict[str, Any]) -> str:
    """Return what became of all that could have been samples, and which option brings it in."""
    causes = [f"{count:,} rejected at {stage}" for stage, count in totals["rejects"].items()]
    for reason, count in totals["skips"].items():
        if reason == SAME_FILE or reason.startswith(NOTE):
            continue
        hint = KEEPING_OPTIONS.get(reason)
        causes.append(f"{count:,} left out: {reason}" + (f" ({hint} keeps them)" if hint else ""))
    return "; ".join(causes) or "the dataset lists nothing; check --root and the config's [source]"
