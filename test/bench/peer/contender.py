"""A peer's side of a benchmark: answers the lines of ../contender.ts."""

import json
import re
import sys
import time


def answer_rounds(work):
    """Does `work` once for each `round` on the standard input, until that ends."""
    for request in sys.stdin:
        if request.strip() == "memory":
            status = open("/proc/self/status").read()
            answer = {"peakBytes": 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1))}
        else:
            start = time.perf_counter()
            work()
            answer = {"seconds": time.perf_counter() - start}
        print(json.dumps(answer), flush=True)
