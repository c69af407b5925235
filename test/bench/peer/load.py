"""load.py FOLDER BASE THREADS: from files to ready, in the calling process; prints the seconds once, imports not counted."""

import json
import sys
import time

import torch
from model import load

folder, base, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
start = time.perf_counter()
load(folder, base)
print(json.dumps({"seconds": time.perf_counter() - start}))
