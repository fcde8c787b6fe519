"""One conversion in an interpreter of its own, for `convert.py --against`; prints seconds and processor seconds as JSON.

cd benchmarks && python -m convert_once WORKLOAD ROOT OUT
"""

import json
import sys
from pathlib import Path

from data import DISTINCT, WORKLOADS
from frame import Times

from resizeonce.preprocess.run.convert import RunOptions, convert

if __name__ == "__main__":
    workload = next(one for one in WORKLOADS if one.name == sys.argv[1])
    root, out = map(Path, sys.argv[2:])
    # The first of a process makes tables and compares engines.
    first = RunOptions(workers=1, limit=DISTINCT * workload.masks)
    convert(workload.config(DISTINCT), root, out / "first", first)
    config, times = workload.config(workload.images), Times()
    times.add(1, lambda: convert(config, root, out / "store", RunOptions(workers=1)))
    print(json.dumps({"seconds": times.wall[0], "cpu_seconds": times.cpu[0]}))
