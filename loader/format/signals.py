"""Signals, as a sentence that says how a process ended names them."""

import signal


def signal_name(number: int) -> str:
    """Return the name of a signal; most of the real-time ones, from 34 on, have none.

    >>> signal_name(9), signal_name(40)
    ('SIGKILL', 'signal 40')
    """
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
