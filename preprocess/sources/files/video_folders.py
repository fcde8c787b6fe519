"""Folders that hold a folder for each video."""

from ....loader.format.errors import SourceError
from ...errors import RecordError
from .folder_tree import is_folder, scan_folder
from .leftovers import LeftOut
from .numbered_pictures import list_pictures
from .picture_folder import check_folder
from .raw_files import RawPath, is_text


def list_videos(root: RawPath, folder: str, unread: LeftOut) -> list[str]:
    """Return the sorted names of the folders in `root / folder`; what else lies there goes to `unread`.

    Raises:
        SourceError: it is not there or can't be listed.
    """
    check_folder(root, folder)
    names = []
    try:
        entries = sorted(scan_folder(root / folder), key=lambda entry: entry.name)
    except OSError as err:
        raise SourceError(
            f"can't list {root / folder}: {err.strerror}; check --root and the config's [source]"
        ) from err
    for entry in entries:
        path = f"{folder}/{entry.name}"
        if unread.look_at(entry.name, path):
            continue
        if not is_folder(entry):
            unread.add(f"file in {folder}, where folders of videos are expected, not read", path)
        elif not is_text(entry.name):
            unread.add("folder whose name is no UTF-8, so that it can't stand in a store: rename it", path)
        else:
            names.append(entry.name)
    return names


def check_depth(root: RawPath, folder: str, video_id: str, option: str) -> None:
    """Look whether a folder of videos is one level too high, by one of what should be its videos.

    Args:
        root: the dataset's root.
        folder: the folder of videos, relative to it.
        video_id: a folder in it.
        option: what the config calls `folder`.

    Raises:
        SourceError: there are folders where frames should be, as in JPEGImages/480p/bear.
    """
    path = f"{folder}/{video_id}"
    try:
        found = list_pictures(root, path, "")
    except RecordError:
        # Whoever reads the video says so.
        return
    if found.folders and not found.names:
        raise SourceError(
            f"{root / path} holds no frame, but folders such as {found.folders[0]}: are those the videos? "
            f'Then set source.{option} = "{path}", and the folder of masks likewise'
        )
