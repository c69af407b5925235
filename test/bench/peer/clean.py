"""clean.py FILE FORMAT THREADS: `datasets` reads a file in RAID's schema, keeps what a human wrote and nobody attacked, and cleans it with
Python functions, a round, in as many processes as there are threads."""

import os
import re
import shutil
import sys
import tempfile
import unicodedata

path, kind, threads = sys.argv[1:]
os.environ["HF_HUB_OFFLINE"] = "1"

import datasets  # noqa: E402
from contender import answer_rounds  # noqa: E402

URL = re.compile(r"(?:https?|ftp)://[^\s<>\"]+|www\.[a-z0-9-]+\.[^\s<>\"]+", re.I)
EMAIL = re.compile(r"[\w.%+-]+@(?:[\w-]+\.)+[a-z]{2,24}", re.I)
INVISIBLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\ufeff]")


def is_human(row):
    return row["model"] == "human" and row["attack"] == "none"


def clean(row):
    text = unicodedata.normalize("NFC", row["generation"] or "")
    text = re.sub(r"\r\n?", "\n", text)
    text = INVISIBLE.sub("", text)
    text = EMAIL.sub("", URL.sub("", text))
    text = re.sub(r"[^\S\n]+", " ", text)
    text = re.sub(r"\n{3,}", "\n\n", re.sub(r" ?\n ?", "\n", text)).strip()
    return {"text": text}


def is_kept(row):
    return 50 <= len(row["text"]) <= 8000 and len(row["text"].split()) >= 10


def work():
    cache = tempfile.mkdtemp(prefix="datasets-")
    rows = datasets.load_dataset(kind.lower(), data_files=path, split="train", cache_dir=cache)
    processes = int(threads)
    kept = rows.filter(is_human, num_proc=processes, cache_file_name=f"{cache}/human.arrow")
    kept = kept.map(clean, num_proc=processes, cache_file_name=f"{cache}/clean.arrow")
    kept = kept.filter(is_kept, num_proc=processes, cache_file_name=f"{cache}/kept.arrow")
    assert len(kept) > 0
    shutil.rmtree(cache)


datasets.disable_progress_bars()
if __name__ == "__main__":
    answer_rounds(work)
