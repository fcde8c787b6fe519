"""What lies in the place of a raw file that was never fetched, told by its first bytes, whatever kind of file it should be."""

from ...errors import DecodeError, RecordError

HEAD_BYTES = 512
"""How much of a file is looked at."""

_STANDINS = {
    b"version https://git-lfs.github.com/spec/": "a Git LFS pointer: run git lfs pull, which fetches the file itself",
    b"/annex/objects/": "a git-annex pointer: run git annex get, which fetches the file itself",
    b"<!doctype": "an HTML page, as a server sends instead of a file: download it again",
    b"<html": "an HTML page, as a server sends instead of a file: download it again",
    b"<?xml": "an XML document, as a server sends instead of a file: download it again",
}
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def check_content(head: bytes) -> None:
    """Raise `RecordError` where a file's first bytes, `HEAD_BYTES` of them or more, are those of a pointer or of a server's answer."""
    begin = head[:HEAD_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip()
    if begin[:1] not in b"v/<.":
        return
    if begin.startswith(b"../") and len(head) < HEAD_BYTES and b"\n" not in begin.rstrip():
        target = begin.decode("utf-8", "backslashreplace").strip()
        raise DecodeError(
            f"the file is a link that was copied as text, to {target!r}: put what that leads to in its place (cp -rL), or "
            "restore the links (git config core.symlinks true)"
        )
    begin = begin.lower()
    for mark, kind in _STANDINS.items():
        if begin.startswith(mark):
            raise DecodeError(f"the file is {kind} (it begins with {head[:12]!r})")


def compression_of(head: bytes) -> str:
    """Return how a file is compressed, by its first bytes; "" where it is not."""
    return next((name for magic, name in _COMPRESSED.items() if head.startswith(magic)), "")


def check_text(head: bytes) -> None:
    """Raise `RecordError` where the first bytes of what should be text in UTF-8 are in UTF-16, or compressed."""
    if head.startswith(_UTF16_MARKS):
        raise RecordError("the file is text in UTF-16, expected UTF-8: save it in that encoding")
    if kind := compression_of(head):
        raise RecordError(f"the file is compressed ({kind}): decompress it")
