"""Damages raw files in every way a stranger's file may be damaged: by accident, by bad tools, and on purpose.

Bytes of any file, then the structure of each format, with whatever checksums it has made right again, so that the damage
gets past the first check; then what stands where the file is expected.
"""

from mutate_bytes import Change
from mutate_containers import change_mp4, change_npz, change_tar, write_npz_oddly
from mutate_pictures import change_jpeg, change_png
from mutate_text import (
    change_csv,
    change_json,
    change_pickle,
    encode_otherwise,
    write_json_oddly,
    write_pickle_oddly,
    write_pickle_text,
)

STRUCTURE: dict[str, tuple[Change, ...]] = {
    "json": (change_json, change_json, change_json, write_json_oddly, encode_otherwise),
    "pickle": (change_pickle, change_pickle, write_pickle_oddly, write_pickle_text),
    "csv": (change_csv, change_csv, encode_otherwise),
    "png": (change_png,),
    "jpeg": (change_jpeg,),
    "npz": (change_npz, write_npz_oddly),
    "tar": (change_tar,),
    "mp4": (change_mp4,),
    "image": (),
}
"""Changes that know a format, by its name; a change that stands there twice is made twice as often."""
