"""Rejects by kind: a million of them are a few reasons, each with other numbers and names in it."""

import re
from collections.abc import Iterable

import msgspec

from ..sources.records import Reject

EXAMPLES = 3
"""How many of a kind are kept."""


class RejectKind(msgspec.Struct):
    """Rejects of one stage whose reasons differ in numbers and quoted values only."""

    stage: str
    count: int
    examples: list[Reject]
    """The first few."""


def reject_kinds(rejects: Iterable[Reject]) -> list[RejectKind]:
    """Return the kinds of rejects, the most frequent first."""
    kinds: dict[tuple[str, str], RejectKind] = {}
    for reject in rejects:
        kind = kinds.setdefault(
            (reject.stage, _without_details(reject.reason)), RejectKind(reject.stage, 0, [])
        )
        kind.count += 1
        if len(kind.examples) < EXAMPLES:
            kind.examples.append(reject)
    return sorted(kinds.values(), key=lambda kind: -kind.count)


def _without_details(reason: str) -> str:
    """Return a reason without its numbers and quoted values, so that alike ones count together."""
    unquoted = re.sub(r"(['\"]).*?\1|b'.*'", "'...'", reason)
    return re.sub(r"[\w.]*\d[\w.]*", "N", unquoted)
