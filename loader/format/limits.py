"""What it means that the system refuses to open, map or share a file, or to start a process, and what to do."""

import errno

_ADVICE = {
    errno.EMFILE: "this process may not open more files: raise the limit (ulimit -n), or hold fewer open",
    errno.ENFILE: "the whole system may not open more files: raise fs.file-max",
    errno.ENOMEM: "this process may not map more memory: raise vm.max_map_count, or the limit on memory (ulimit -v)",
    errno.EAGAIN: "no more processes may be started: raise the limit (ulimit -u), or that of the container (pids.max)",
    errno.EFBIG: 'files may not be so large: raise the limit (ulimit -f), or give BatchOptions(mode="thread")',
}


_OF_READING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def describe_refused_read(error: Exception) -> str | None:
    """Return why the system lets this process not read a file, and what to do; None where the file, or its disk, is at fault."""
    if not isinstance(error, OSError):
        return None
    if error.errno in (errno.EACCES, errno.EPERM):
        return "this user may not read it: change its permissions, or be another user"
    return describe_limit(error) if error.errno in _OF_READING else None


def describe_limit(error: OSError) -> str | None:
    """Return the limit that was reached, and what to do; None where it is another refusal."""
    return _ADVICE.get(error.errno or 0)
