"""What stands where a file is expected, or beside it. Each takes the file and a folder outside of the dataset's root."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from random import Random


def put_folder(path: Path, _: Path) -> None:
    path.mkdir()


def put_fifo(path: Path, _: Path) -> None:
    os.mkfifo(path)


def put_socket(path: Path, _: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        # A socket's path may have 107 bytes.
        os.chdir(path.parent)
        server.bind(path.name)
        os.chdir(here)


def put_nothing(_: Path, __: Path) -> None:
    """Leave the file out."""


def put_link_to_nothing(path: Path, _: Path) -> None:
    path.symlink_to("not-there")


def put_link_to_itself(path: Path, _: Path) -> None:
    path.symlink_to(path.name)


def put_link_to_long_name(path: Path, _: Path) -> None:
    path.symlink_to("x" * 300)


def put_link_to_odd_name(path: Path, outside: Path) -> None:
    # The name that it leads to is no UTF-8.
    path.symlink_to(outside / os.fsdecode(b"\xff\xfe"))


def put_link_to_device(path: Path, _: Path) -> None:
    path.symlink_to("/dev/zero")


def put_link_out(path: Path, outside: Path) -> None:
    # The very file, but outside of the root.
    path.symlink_to(outside / "original")


def put_link_to_folder_out(path: Path, outside: Path) -> None:
    path.symlink_to(outside)


def put_huge(path: Path, _: Path) -> None:
    """Put a file of zeros that takes no room on the disk."""
    path.touch()
    os.truncate(path, 1 << 40)


PLACES: tuple[Callable[[Path, Path], None], ...] = (
    put_folder, put_fifo, put_socket, put_nothing, put_link_to_nothing, put_link_to_itself, put_link_to_long_name, put_link_to_odd_name, put_link_to_device,
    put_link_out, put_link_to_folder_out, put_huge,
)  # fmt: skip


ODD_NAMES = (b"\xff\xfe", b"a\nb", b"\xe2\x80\xae", b"x" * 200, b" ", b"sa_01", b"sa_" + b"9" * 100, b"..a")
"""Names for files that should not be there; the ending of a real one is put behind."""


def add_oddly_named(path: Path, chance: Random) -> None:
    """Put a copy of the file, or a folder, beside it, under a name that nobody gives."""
    suffix = b"_manual.json" if path.name.endswith("_manual.json") else os.fsencode(path.suffix)
    odd = path.with_name(os.fsdecode(chance.choice(ODD_NAMES) + suffix))
    if chance.random() < 0.3:
        odd.mkdir()
    else:
        odd.hardlink_to(path)
