"""How much may come of one body, and how slowly: no server fills the memory or a disk, or holds a run for ever.

A least rate tells a server that sends a byte a minute, on purpose or because it is stuck, from a slow link: 1 KiB/s is a
seventh of what a modem did, and at less a part of 1 GB would take more than eleven days. What has come is looked at
whenever that much should have, so a link may rest for most of a minute and make up for it.
"""

LEAST_RATE = 1024
"""Bytes a second below which a server counts as stuck."""

WINDOW_SECONDS = 60.0
"""How long bytes are waited for until the rate is looked at; also how long the headers of an answer may take."""


class TooSlowError(ConnectionError):
    """Raised where a server sends nothing, or next to nothing, for a whole minute."""


MAX_PAUSE_SECONDS = 60.0
"""Longest pause that a server may ask for: who waits should not take it for a fault of the program."""


class BusyError(ConnectionError):
    """Raised where a server says that it can't answer now.

    Attributes:
        seconds: after how many it asks to be asked again; 0.0 where it does not say.
    """

    def __init__(self, finding: str, seconds: float = 0.0) -> None:
        super().__init__(finding)
        self.seconds = seconds


class TooLongError(Exception):
    """Raised to stop what sends more than it should; never leaves this package."""


class Pace:
    """Compares what comes of one body with the least rate: each minute's worth of bytes must come within a minute."""

    def __init__(self) -> None:
        self._window = WINDOW_SECONDS
        self._enough = int(LEAST_RATE * self._window)
        self._come = 0
        self._waited = 0.0

    @property
    def patience(self) -> float:
        """Seconds that may still be waited."""
        return max(self._window - self._waited, 0.0)

    def count(self, num_bytes: int, waited: float) -> None:
        """Note that bytes came after so many seconds.

        Raises:
            TooSlowError: they were too few.
        """
        self._come += num_bytes
        self._waited += waited
        if self._come >= self._enough:
            self._come, self._waited = 0, 0.0
        elif self._waited >= self._window:
            raise self.too_slow()

    def too_slow(self) -> TooSlowError:
        """Return the error that says how little came."""
        return TooSlowError(
            f"{self._come:,} bytes came in {self._window:g} seconds, and the least rate is {LEAST_RATE:,} bytes a second"
        )


def pause_after(error: Exception, seconds: float) -> float:
    """Return how long to wait after an error: so many seconds, or as long as a busy server asks for."""
    asked = error.seconds if isinstance(error, BusyError) else 0.0
    return max(seconds, min(asked, MAX_PAUSE_SECONDS))
