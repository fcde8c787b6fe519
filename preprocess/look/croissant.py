"""A store described in Croissant 1.1 (docs.mlcommons.org/croissant), which search engines and dataset tools read.

What reads Croissant reads no Zarr: the store is described as sets of files, each array by its type and shape, and what can
be gone through record by record is the preview in Parquet. Written as plain JSON; tests have mlcroissant look at it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from ...loader.format.layout import REJECTS_FILE, ArraySpec, array_specs
from ...loader.format.shard import shard_path
from .card_text import CardFacts, made_by
from .parquet_preview import PREVIEW_FILE

MOST_PARTS = 1000
"""Of which each is listed with its digest; of larger stores the root, which lists them all, stands for them."""

ZARR = "https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html"
"""Stands where a registered media type would."""

_TERMS = """
    arrayShape citeAs column containedIn equivalentProperty extract field fileObject fileProperty fileSet format includes isArray
    isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated replace samplingRate separator source
    subField transform
"""

_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
} | {term: f"cr:{term}" for term in _TERMS.split()}
"""The terms of Croissant 1.1 that the document is written in, as its specification lists them."""


def croissant(facts: CardFacts) -> str:
    """Return the document."""
    origin = facts.origin
    document: dict[str, Any] = {
        "@context": dict(sorted(_CONTEXT.items())),
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": facts.title,
        "description": facts.summary,
        "datePublished": facts.date.isoformat(),
        "version": f"1.0.0+{facts.attributes['fingerprint'][:16]}",
        "keywords": facts.tags,
        "rai:dataPreprocessingProtocol": [
            f"{name}: {made_by(view)}" for name, view in facts.store.recipe.views.items()
        ],
    }
    if origin.licences:
        document["license"] = [licence.address or licence.name for licence in origin.licences]
    if origin.citations:
        document["citeAs"] = "\n\n".join(origin.citations)
    if origin.address:
        document |= {"url": origin.address, "isBasedOn": origin.address}
    if origin.language and facts.store.has_expressions:
        document["inLanguage"] = origin.language
    document["distribution"] = [*_files(facts), *_sets(facts)]
    if facts.preview is not None:
        document["recordSet"] = list(_records(facts))
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _files(facts: CardFacts) -> Iterator[dict[str, Any]]:
    """Yield what is known by a digest of its bytes."""
    where = facts.reference
    root = facts.root_document
    yield _file(
        "zarr.json",
        f"{where}/zarr.json",
        hashlib.sha256(root).hexdigest(),
        "application/json",
        "The root of the store: recipe, counts, and the digest of each part, which covers every byte of it.",
        len(root),
    )
    for name, listed in facts.attributes["files"].items():
        if name == REJECTS_FILE:
            told = "What could not be converted, and why: a JSON object a line."
            yield _file(name, f"{where}/{name}", listed["sha256"], "application/jsonl", told, listed["bytes"])
    parts = facts.attributes["parts"]
    for part in parts if len(parts) <= MOST_PARTS else []:
        told = "Of a part: its rows, and the digests of its files."
        name = part["name"]
        yield _file(
            f"{name}/zarr.json", f"{where}/{name}/zarr.json", part["sha256"], "application/json", told, None
        )
    if facts.preview is not None:
        content = facts.preview.content
        digest = hashlib.sha256(content).hexdigest()
        told = "Some of the samples as thumbnails with their masks' outlines."
        yield _file(PREVIEW_FILE, facts.preview_path, digest, "application/x-parquet", told, len(content))


def _file(
    identifier: str, address: str, digest: str, encoding: str, description: str, size: int | None
) -> dict[str, Any]:
    described = _node("FileObject", identifier, description)
    described |= {"contentUrl": address, "encodingFormat": encoding, "sha256": digest}
    return described if size is None else described | {"contentSize": f"{size} B"}


def _node(kind: str, identifier: str, description: str) -> dict[str, Any]:
    """Return what each thing begins with that a document is made of; its name is the last step of its id."""
    name = identifier if kind.startswith("File") else identifier.rpartition("/")[2]
    return {"@type": f"cr:{kind}", "@id": identifier, "name": name, "description": description}


def _sets(facts: CardFacts) -> Iterator[dict[str, Any]]:
    """Yield the arrays, each of which is a file in each part."""
    store = facts.store
    for spec in array_specs(store.recipe, 2 if store.paired else 1, store.columns):
        files = {"encodingFormat": ZARR, "includes": f"{facts.reference}/part-*/{shard_path(spec)}"}
        yield _node("FileSet", spec.path, _describe(spec)) | files


def _describe(spec: ArraySpec) -> str:
    shape = ", ".join([spec.dims[0], *map(str, spec.row_shape)])
    packed = (
        ""
        if spec.codec == "raw"
        else f", each row compressed with the codec {_CODECS.get(spec.codec, spec.codec)}"
    )
    return f"A Zarr v3 array in one shard a part: {spec.dtype} [{shape}]{packed}."


_CODECS = {"gradient": "resizeonce.gradient"}


def _records(facts: CardFacts) -> Iterator[Mapping[str, Any]]:
    """Yield what can be gone through record by record."""
    preview = facts.preview
    assert preview is not None
    fields = [
        _field("image", "sc:ImageObject", "A thumbnail with the outline of the mask.")
        | {"source": _column("image") | {"transform": {"jsonPath": "bytes"}}},
        _field("key", "sc:Text", "The sample's key in the store."),
    ]
    if preview.classes:
        fields.append(
            _field("category", "sc:Integer", "The class of its object, a number of the record set `classes`.")
            | {"references": {"field": {"@id": "classes/number"}}}
        )
    if facts.store.has_expressions:
        fields.append(
            _field("expressions", "sc:Text", "Phrases that refer to its object.")
            | {"isArray": True, "arrayShape": "-1"}
        )
    shown = f"{preview.num_rows:,} of {len(facts.store):,} samples, drawn by chance."
    yield _node("RecordSet", "preview", shown) | {
        "key": {"@id": "preview/key"},
        "field": [{"source": _column(field["name"])} | field for field in fields],
    }
    if preview.classes:
        yield _node("RecordSet", "classes", "The classes of the objects in the preview.") | {
            "dataType": "sc:Enumeration",
            "key": {"@id": "classes/number"},
            "field": [
                {"@type": "cr:Field", "@id": "classes/number", "name": "number", "dataType": "sc:Integer"},
                {"@type": "cr:Field", "@id": "classes/name", "name": "name", "dataType": "sc:Text"},
            ],
            "data": [
                {"classes/number": number, "classes/name": name}
                for number, name in enumerate(preview.classes)
            ],
        }


def _field(name: str, kind: str, description: str) -> dict[str, Any]:
    return _node("Field", f"preview/{name}", description) | {"dataType": kind}


def _column(name: str) -> dict[str, Any]:
    return {"fileObject": {"@id": PREVIEW_FILE}, "extract": {"column": name}}
