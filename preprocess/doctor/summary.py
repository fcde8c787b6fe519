"""From counts to findings: how severe, in which words, how many in all, and what to do."""

from collections import Counter
from collections.abc import Iterator

from ...loader.format.recipe import Recipe
from ..findings import MAX_EXAMPLES, SEVERITIES, Finding, Scenes, Severity
from ..sources.base import Source
from ..sources.records import Skip
from .doubts import DOUBTS, PARTIAL
from .rejects import OTHER, REJECT_CHECKS, RejectCheck
from .skips import finding_of
from .tally import Found, Tally

MAX_REASON_LENGTH = 300


def list_findings(tally: Tally, source: Source, recipe: Recipe) -> list[Finding]:
    """Return what was found in a dataset, of whose scenes that were looked at there is a tally; the worst first."""
    scenes = Scenes(total=len(source), looked_at=tally.num_scenes)
    findings = [
        *_emptiness(tally, source),
        *_errors(tally, source, scenes),
        *_doubts(tally, recipe, scenes),
        *_copies(tally, source, scenes),
        *_skips(tally, source, scenes),
        *_undecided(tally, scenes),
    ]
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def _emptiness(tally: Tally, source: Source) -> Iterator[Finding]:
    samples = tally.size.pairs if source.paired else tally.size.masks
    if not (samples or tally.size.rejects or source.rejects):
        yield Finding(
            check="no-sample",
            severity="warning",
            count=1,
            what="nothing that was looked at becomes a sample: all is left out, and nothing is wrong with it",
            remedy="see which option the notes name; check --root and the config's [source]",
        )


def _errors(tally: Tally, source: Source, scenes: Scenes) -> Iterator[Finding]:
    indexed = Tally()
    for reject in source.rejects:
        indexed.add_reject(reject)
    if scenes.is_whole:
        indexed.add(tally)
    for check in (*REJECT_CHECKS, OTHER):
        # The index is of the whole dataset, however few scenes were looked at.
        in_index, in_scenes = indexed.found.get(check.name), tally.found.get(check.name)
        if in_index is not None:
            yield _error(check, in_index, "")
        if in_scenes is not None and not scenes.is_whole:
            yield _error(check, in_scenes, _in_all(in_scenes.count, scenes))


def _error(check: RejectCheck, found: Found, in_all: str) -> Finding:
    more = "..." if len(found.reason) > MAX_REASON_LENGTH else ""
    what = f"{check.what}{in_all}; the first: {found.reason[:MAX_REASON_LENGTH]}{more}"
    return _finding(check.name, "error", found, what, check.remedy)


def _doubts(tally: Tally, recipe: Recipe, scenes: Scenes) -> Iterator[Finding]:
    for name, doubt in DOUBTS.items():
        found = tally.found.get(name)
        total = tally.size.images if doubt.of == "images" else tally.size.masks
        if found is None or (name in PARTIAL and found.count == total):
            continue
        share = found.count / total
        severity = doubt.severity if share > doubt.rare else "note"
        what = f"{doubt.what} ({share:.1%} of the {doubt.of}){_in_all(found.count, scenes)}"
        yield _finding(name, severity, found, what, doubt.remedy.format(prompt=recipe.prompt))


def _copies(tally: Tally, source: Source, scenes: Scenes) -> Iterator[Finding]:
    copies = tally.copies()
    if copies:
        pairs = copies[:MAX_EXAMPLES]
        examples = [f"{source[second].key} (is {source[first].key})" for first, second in pairs]
        among = "" if scenes.is_whole else f" among the {scenes.looked_at:,} looked at"
        what = f"pictures that are an earlier one under another name, byte for byte{among}"
        remedy = "remove one of each, or see that both are in one split; they count twice while training"
        yield _finding("picture-twice", "warning", Found(len(copies), examples), what, remedy)


def _skips(tally: Tally, source: Source, scenes: Scenes) -> Iterator[Finding]:
    indexed, looked = Counter[str](), tally.skips
    for skip in source.skips:
        indexed[skip.reason] += skip.count
    if scenes.is_whole:
        indexed, looked = indexed + looked, Counter()
    for reason, count in indexed.items():
        yield finding_of(Skip(reason, count))
    for reason, count in looked.items():
        yield finding_of(Skip(reason, count), _in_all(count, scenes))


def _undecided(tally: Tally, scenes: Scenes) -> Iterator[Finding]:
    size = tally.size
    if size.undecided:
        share = f"{size.undecided / size.images:.1%} of the images"
        what = f"pictures so tall that Pillow 12 and 13 resize them to other bytes ({share})"
        in_all = _in_all(size.undecided, scenes)
        remedy = "say which of them the trainer has: --set recipe.arithmetic=pillow-12 or pillow-13"
        yield _finding("arithmetic", "note", Found(size.undecided), f"{what}{in_all}", remedy)


def _in_all(count: int, scenes: Scenes) -> str:
    """Return what a count in some scenes amounts to in all, "" where these are all."""
    if scenes.is_whole:
        return ""
    in_all = round(count * scenes.total / scenes.looked_at)
    return f", in {scenes.looked_at:,} scenes: about {in_all:,} in all"


def _finding(check: str, severity: Severity, found: Found, what: str, remedy: str) -> Finding:
    return Finding(
        check=check, severity=severity, count=found.count, what=what, examples=found.examples, remedy=remedy
    )
