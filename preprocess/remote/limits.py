"""How many bytes the documents of a store may have where they come from a URL, and nothing lists their size."""

MAX_ROOT_BYTES = 1 << 26
"""Of the root's `zarr.json`, and of a plan: 200,000 parts. Python takes up to twenty times as much for JSON made for it."""

MAX_PART_METADATA_BYTES = 1 << 22
"""Of the `zarr.json` of a part, which lists some thirty files in about 5 kB."""

MAX_REJECTS_BYTES = 1 << 30
"""Of a `rejects.jsonl`: some millions of lines."""
