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
from .card_facts import CardFacts
from .parquet_preview import PREVIEW_FILE

MOST_PARTS = 1000
"""Of which each is listed with its digest; of larger stores the root, which lists them all, stands for them."""

ZARR = "https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html"
"""Stands where a registered media type would."""

_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The terms of Croissant 1.1 that the document is written in, as its specification lists them."""


def croissant(facts: CardFacts) -> str:
    """Return the document."""
    origin = facts.origin
    document: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": facts.title,
        "description": facts.summary,
        "datePublished": facts.date.isoformat(),
        "version": f"1.0.0+{facts.attributes['fingerprint'][:16]}",
        "keywords": facts.tags,
        "rai:dataPreprocessingProtocol": list(facts.protocol()),
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
    described = {
        "@type": "cr:FileObject",
        "@id": identifier,
        "name": identifier,
        "description": description,
        "contentUrl": address,
        "encodingFormat": encoding,
        "sha256": digest,
    }
    return described if size is None else described | {"contentSize": f"{size} B"}


def _sets(facts: CardFacts) -> Iterator[dict[str, Any]]:
    """Yield the arrays, each of which is a file in each part."""
    store = facts.store
    for spec in array_specs(store.recipe, 2 if store.paired else 1, store.columns):
        yield {
            "@type": "cr:FileSet",
            "@id": spec.path,
            "name": spec.path,
            "description": _describe(spec),
            "encodingFormat": ZARR,
            "includes": f"{facts.reference}/part-*/{shard_path(spec)}",
        }


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
    yield {
        "@type": "cr:RecordSet",
        "@id": "preview",
        "name": "preview",
        "description": f"{preview.num_rows:,} of {len(facts.store):,} samples, drawn by chance.",
        "key": {"@id": "preview/key"},
        "field": [{"source": _column(field["name"])} | field for field in fields],
    }
    if preview.classes:
        yield {
            "@type": "cr:RecordSet",
            "@id": "classes",
            "name": "classes",
            "description": "The classes of the objects in the preview.",
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
    return {
        "@type": "cr:Field",
        "@id": f"preview/{name}",
        "name": name,
        "description": description,
        "dataType": kind,
    }


def _column(name: str) -> dict[str, Any]:
    return {"fileObject": {"@id": PREVIEW_FILE}, "extract": {"column": name}}
