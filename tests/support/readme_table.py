"""Prints the README's table from the medians that the benchmarks wrote with `--facts`.

::

    python tests/support/readme_table.py CONVERT LOADING
"""

import json
import sys
from pathlib import Path


def table(convert: dict[str, dict[str, float]], loading: dict[str, float]) -> list[str]:
    """Return the lines of the table."""
    many, one, coco = (convert[name] for name in ("SA-1B, 100 masks", "SA-1B, 1 mask", "COCO, 8 masks"))
    writers = convert.get("SA-1B, 1 mask, writers", {})
    others = [
        f"{label} {writers[name]:.0f}"
        for label, name in (("MosaicML", "mds"), ("LitData", "litdata"), ("FFCV", "ffcv"))
        if name in writers
    ]
    rows = [
        (
            "converting an SA-1B image with 100 masks, one core",
            f"{many['ours']:.0f} ms",
            f"{many['plain']:.0f} ms with Pillow and pycocotools",
        ),
        (
            "an SA-1B image with one mask",
            f"{one['ours']:.0f} ms, of them {one['decode']:.0f} to decode",
            f"{one['plain']:.0f} ms",
        ),
        ("a COCO image with 8 masks", f"{coco['ours']:.1f} ms", f"{coco['plain']:.0f} ms"),
    ]
    if others:
        ours = f"{writers['ours']:.0f} images/s"
        rows.append(("SA-1B images with one mask, two workers", ours, ", ".join(others)))
    rivals = {name: rate for name, rate in loading.items() if not name.startswith(("ours", "floor"))}
    best = sorted(rivals, key=lambda name: -rivals[name])[:2]
    memmap = max(rate for name, rate in rivals.items() if name.startswith("np.memmap") and "2 w" in name)
    rows += [
        (
            "shuffled batches of 8, two processes, from memory",
            f"{loading['ours, 2 processes']:.0f} samples/s",
            ", ".join(f"{name.split(',')[0]} {rivals[name]:.0f}" for name in best),
        ),
        (
            "in a `DataLoader` with 2 workers",
            f"{loading['ours in DataLoader, 2 workers']:.0f} samples/s",
            f"np.memmap there {memmap:.0f}",
        ),
    ]
    return ["| | here | otherwise |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]


if __name__ == "__main__":
    print("\n".join(table(*(json.loads(Path(name).read_text()) for name in sys.argv[1:3]))))
