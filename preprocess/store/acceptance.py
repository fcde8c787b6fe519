"""Which masks and pairs of a scene become rows of a store, and why the others can't.

One place for what writes a store and for what only says what would be written.
"""

from ..decode.images import is_same_picture
from ..errors import RecordError
from ..sources.records import Frame, Mask, Pair, Reject


class Acceptance:
    """Knows the rows of one scene at a time, by object and frame, and what was rejected in it."""

    def __init__(self) -> None:
        self._rows: dict[tuple[int, str], int] = {}
        self._faults: dict[str, str] = {}

    def start_scene(self) -> None:
        """Forget the scene before."""
        self._rows.clear()
        self._faults.clear()

    def take_mask(self, frame: Frame, mask: Mask, row: int) -> Reject | None:
        """Give a mask its row; or return why it can't have one."""
        reason = self._reason_against(frame, mask)
        if reason:
            return Reject(f"{frame.key}/{mask.object_id}", mask.path or frame.path, "mask", reason)
        # The row is claimed at once, so that a second mask of the same object is seen.
        self._rows[frame.time, mask.object_id] = row
        return None

    def drop_frame(self, frame: Frame, error: RecordError) -> Reject:
        """Return the reject of a picture that a view can't be made of; its masks lose their rows."""
        for mask in frame.masks:
            self._rows.pop((frame.time, mask.object_id), None)
        return Reject(frame.key, frame.path, error.stage, error.reason)

    def take_pair(self, pair: Pair) -> tuple[int, ...] | Reject:
        """Return the rows of a pair's two masks; or why it can't be a sample."""
        rows = [self._rows.get((time, pair.object_id)) for time in (pair.time1, pair.time2)]
        found = tuple(row for row in rows if row is not None)
        if len(found) == len(rows):
            return found
        missing = [key for key, row in zip(pair.keys, rows, strict=True) if row is None]
        # What was rejected before, the mask or its whole frame, says why and names the file.
        causes = [self._faults.get(f"{key}/{pair.object_id}") or self._faults.get(key) for key in missing]
        path = next((cause for cause in causes if cause), "")
        names = " and ".join(dict.fromkeys(key.rpartition("/")[2] for key in missing))
        return Reject(pair.key, path, "pair", f"the pair has no usable image and mask in frame {names}")

    def note(self, reject: Reject) -> None:
        """Take down what was rejected, so that pairs can name its file."""
        self._faults.setdefault(reject.key, reject.path)

    def _reason_against(self, frame: Frame, mask: Mask) -> str:
        """Return why a mask can't be used, "" where it can."""
        size, mask_size = frame.image.shape[:2], mask.segmentation.size
        if (frame.time, mask.object_id) in self._rows:
            return "a second mask of the same object in the same image"
        if not is_same_picture(size, mask_size):
            (height, width), (mask_height, mask_width) = size, mask_size
            return (
                f"the mask is {mask_height} x {mask_width} but its image is {height} x {width} (height x width): "
                "not the same picture in another size"
            )
        if mask.segmentation.area == 0 and not mask.may_be_empty:
            return "the mask covers no pixel"
        return ""
