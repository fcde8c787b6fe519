"""Scripts of trainers, each in a fork of one process that has imported torch: that takes longer than most of them.

The process serves all tests of the process that runs them, and ends with it. Each script has the folder and the environment
of the test that asks for it.
"""

import atexit
import json
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

SECONDS = 240
"""How long a script may take."""

SERVE = """
import json, os, sys
import torch

for line in sys.stdin:
    code, arguments, said, folder, environment = json.loads(line)
    if not os.fork():
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        os.dup2(1, 2)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv[1:] = arguments
        exec(compile(code, "script", "exec"), {"__name__": "__main__"})
        sys.exit()
    print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
"""


@cache
def _server() -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", SERVE]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(_end, server)
    return server


def _end(server: "subprocess.Popen[str]") -> None:
    # It isn't waited for until it has read all: what tests have forked may hold its pipe open.
    server.kill()
    server.wait()


def run_in_forks(folder: Path, scripts: Sequence[tuple[str, Sequence[object]]]) -> list[tuple[int, str]]:
    """Run each script with its arguments, one after the other; return its exit status, and what it said."""
    server, done = _server(), []
    assert server.stdin
    assert server.stdout
    for number, (code, arguments) in enumerate(scripts):
        said = folder / f"said-{number}"
        asked = [code, list(map(str, arguments)), str(said), str(Path.cwd()), dict(os.environ)]
        server.stdin.write(json.dumps(asked) + "\n")
        server.stdin.flush()
        answers, _, _ = select.select([server.stdout], [], [], SECONDS)
        if not answers:
            _end(server)
            _server.cache_clear()
            raise TimeoutError(f"a script does not end: {said.read_text()}")
        done.append((int(server.stdout.readline()), said.read_text()))
    return done
