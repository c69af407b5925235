"""A peer's side of a benchmark: answers the lines of ../contender.ts."""

import json
import re
import sys
import time


def answer_rounds(work):
    """Does `work` once for each `round` on the standard input, until that ends. It may return the seconds that count."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what the libraries print is no answer
    for request in sys.stdin:
        if request.strip() == "memory":
            status = open("/proc/self/status").read()
            answer = {"peakBytes": 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1))}
        else:
            start = time.perf_counter()
            seconds = work()
            answer = {"seconds": time.perf_counter() - start if seconds is None else seconds}
        print(json.dumps(answer), file=answers, flush=True)
