"""tokenizing.py BASE TEXTS RESULT THREADS: the Rust tokenizers encode the texts, a JSON list, and pack them into sequences of 1,024, a round;
the sum of the ids goes into RESULT."""

import hashlib
import json
import os
import sys

base, texts, result, threads = sys.argv[1:]
os.environ["RAYON_NUM_THREADS"] = threads
os.environ["TOKENIZERS_PARALLELISM"] = "true"

import numpy as np  # noqa: E402
from contender import answer_rounds  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

tokenizer = Tokenizer.from_file(f"{base}/tokenizer.json")
with open(texts) as file:
    everything = json.load(file)


def pack(lengths, capacity):
    """Best fit, the longest first."""
    room = [[] for _ in range(capacity + 1)]
    bins = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        left = next((left for left in range(lengths[i], capacity + 1) if room[left]), None)
        if left is None:
            bins.append([])
            at, left = len(bins) - 1, capacity
        else:
            at = room[left].pop()
        bins[at].append(i)
        room[left - lengths[i]].append(at)
    return bins


def work():
    ids = [np.array(each.ids, np.int32) for each in tokenizer.encode_batch(everything, add_special_tokens=False)]
    pack([min(len(each), 1024) for each in ids], 1024)
    digest = hashlib.sha256(b"".join(each.tobytes() for each in ids)).hexdigest()
    with open(result, "w") as file:
        json.dump({"tokens": sum_of(ids), "sum": digest}, file)


def sum_of(ids):
    return sum(len(each) for each in ids)


answer_rounds(work)
