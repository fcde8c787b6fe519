"""What a notebook shows of stores and batches: a line of text and small pictures, as HTML that needs nothing else."""

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

THUMBNAILS = 4
"""How many samples a notebook shows."""

LEAST_WIDTH = 128
"""Of what is said of a picture, in pixels."""


def as_html(summary: str, thumbnails: "Sequence[tuple[str, Image | None]]") -> str:
    """Return what a notebook shows: a line of text, and pictures that it holds in itself, each with what is said of it."""
    shown = "".join(
        '<figure style="display:inline-block;margin:4px;vertical-align:top">'
        f'{"" if image is None else _as_img(image)}<figcaption style="font-size:80%;overflow-wrap:anywhere;'
        f'max-width:{LEAST_WIDTH if image is None else max(LEAST_WIDTH, image.width)}px">{escape(text)}</figcaption></figure>'
        for text, image in thumbnails
    )
    return f"<div><code>{escape(summary)}</code><br>{shown}</div>"


def _as_img(image: "Image") -> str:
    source = jpeg_url(image, 85, subsampling=0)
    return f'<img alt="" width="{image.width}" height="{image.height}" src="{source}">'


def jpeg_url(picture: "Image", quality: int, **settings: int) -> str:
    """Return a picture as a `data:` URL, by which a page holds it in itself; arguments as of `encode_jpeg`."""
    return f"data:image/jpeg;base64,{b64encode(encode_jpeg(picture, quality, **settings)).decode()}"


def encode_jpeg(picture: "Image", quality: int, **settings: int) -> bytes:
    """Return a picture as a JPEG file, made with these settings of Pillow's."""
    encoded = BytesIO()
    picture.convert("RGB").save(encoded, "JPEG", quality=quality, **settings)
    return encoded.getvalue()
