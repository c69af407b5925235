"""text_dedup_minhash.py FOLDER RESULT THREADS: text-dedup's MinHash over the documents' parquet files a round, from the files to the
clusters: u32 for each document, into RESULT. Its own choice of bands for a threshold of 0.85; nothing is verified, as is its default."""

import logging
import os
import pickle
import shutil
import sys
import tempfile

folder, result, threads = sys.argv[1:]
# The processes that it starts import this file, too, and get the folder of the first.
scratch = os.environ.get("TEXT_DEDUP_SCRATCH") or tempfile.mkdtemp(prefix="text-dedup-")
os.environ["TEXT_DEDUP_SCRATCH"] = os.environ["HF_HOME"] = scratch
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.pop("ROWS", None)  # the bench's; text-dedup would take it for the rows of a band

import numpy as np  # noqa: E402
from contender import answer_rounds  # noqa: E402
from text_dedup.config.base import load_config_from_toml  # noqa: E402
from text_dedup.minhash import main  # noqa: E402

logging.disable(logging.INFO)
rounds = 0


def settings(path, source, output):
    with open(path, "w") as file:
        file.write(
            f"""
[input]
input_type = "local_files"
file_type = "parquet"
[input.read_arguments]
path = "parquet"
data_files = "{source}/*.parquet"
split = "train"
cache_dir = "{output}.cache"
[algorithm]
algorithm_name = "minhash"
text_column = "text"
num_perm = 256
ngram_size = 5
threshold = 0.85
num_proc = {threads}
[output]
output_dir = "{output}"
save_clusters = true
[debug]
logging_level = 30
"""
        )
    return load_config_from_toml(path)


def work():
    global rounds
    rounds += 1
    # Another name and cache for each round: what it has computed once it would not compute again.
    source, output = f"{scratch}/source{rounds}", f"{scratch}/output{rounds}"
    os.symlink(os.path.abspath(folder), source)
    main(settings(f"{scratch}/config.toml", source, output))
    with open(f"{output}/clusters.pickle", "rb") as file:
        clusters = pickle.load(file)
    first, documents = {}, int(open(f"{folder}.count").read())
    of = np.arange(documents, dtype=np.uint32)
    for document in sorted(clusters):
        of[document] = first.setdefault(clusters[document], document)
    of.tofile(result)
    shutil.rmtree(f"{output}.cache")
    shutil.rmtree(output)


if __name__ == "__main__":
    try:
        answer_rounds(work)
    finally:
        shutil.rmtree(scratch)
