"""One conversion in an interpreter of its own, for `convert.py --against`; prints seconds and processor seconds as JSON.

python benchmarks/convert_once.py WORKLOAD ROOT IMAGES OUT
"""

import json
import sys
from pathlib import Path

from data import DISTINCT, WORKLOADS
from frame import Times

from resizeonce.preprocess.run.convert import RunOptions, convert

if __name__ == "__main__":
    workload, root, images, out = (
        WORKLOADS[int(sys.argv[1])],
        Path(sys.argv[2]),
        int(sys.argv[3]),
        Path(sys.argv[4]),
    )
    # The first of a process makes tables and compares engines.
    convert(
        workload.config(DISTINCT), root, out / "first", RunOptions(workers=1, limit=DISTINCT * workload.masks)
    )
    times = Times()
    times.add(1, lambda: convert(workload.config(images), root, out / "store", RunOptions(workers=1)))
    print(json.dumps({"seconds": times.wall[0], "cpu_seconds": times.cpu[0]}))
