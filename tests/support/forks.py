"""Scripts of trainers, each in a fork of one process that has imported torch: that takes longer than most of them."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

RUN = """
import json, os, sys
import torch

for code, arguments, said in json.loads(sys.argv[1]):
    if not os.fork():
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        os.dup2(1, 2)
        sys.argv[1:] = arguments
        exec(compile(code, "script", "exec"), {"__name__": "__main__"})
        sys.exit()
    print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
"""


def run_in_forks(folder: Path, scripts: Sequence[tuple[str, Sequence[object]]]) -> list[tuple[int, str]]:
    """Run each script with its arguments, one after the other; return its exit status, and what it said."""
    given = [
        (code, list(map(str, arguments)), str(folder / f"said-{number}"))
        for number, (code, arguments) in enumerate(scripts)
    ]
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(given)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done
    codes = map(int, done.stdout.split())
    return [(code, Path(said).read_text()) for code, (_, _, said) in zip(codes, given, strict=True)]
