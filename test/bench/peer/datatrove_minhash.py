"""datatrove_minhash.py FOLDER RESULT THREADS: datatrove's MinHash over the documents' parquet files a round, from the files to the
clusters: u32 for each document, into RESULT. Its default configuration, 14 buckets of 8 hashes over words in fives."""

import glob
import os
import shutil
import struct
import sys
import tempfile

os.environ["DATATROVE_COLORIZE_LOGS"] = "0"

import numpy as np  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from contender import answer_rounds  # noqa: E402
from datatrove.executor import LocalPipelineExecutor  # noqa: E402
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupSignature  # noqa: E402
from datatrove.pipeline.dedup.minhash import MinhashConfig  # noqa: E402
from datatrove.pipeline.readers import ParquetReader  # noqa: E402
from loguru import logger  # noqa: E402

folder, result, threads = sys.argv[1:]
files = sorted(glob.glob(f"{folder}/*.parquet"))
config = MinhashConfig()


def work():
    scratch = tempfile.mkdtemp(prefix="datatrove-")
    run = lambda pipeline, tasks: LocalPipelineExecutor(  # noqa: E731
        pipeline, tasks=tasks, workers=int(threads), logging_dir=f"{scratch}/logs", skip_completed=False, start_method="fork"
    ).run()
    signatures = MinhashDedupSignature(f"{scratch}/signatures", config)
    run([ParquetReader(folder, glob_pattern="*.parquet"), signatures], len(files))
    run([MinhashDedupBuckets(f"{scratch}/signatures", f"{scratch}/buckets", config=config)], config.num_buckets)
    run([MinhashDedupCluster(f"{scratch}/buckets", f"{scratch}/clusters", config, save_cluster_id=True)], 1)
    sizes = [pq.ParquetFile(file).metadata.num_rows for file in files]
    begins = np.concatenate([[0], np.cumsum(sizes)])
    of, first = np.arange(begins[-1], dtype=np.uint32), {}
    for i in range(len(files)):
        path = f"{scratch}/clusters/{i:06d}.clusters"
        if os.path.exists(path):
            for document, cluster in struct.iter_unpack("<2I", open(path, "rb").read()):
                of[begins[i] + document] = first.setdefault(cluster, begins[i] + document)
    of.tofile(result)
    shutil.rmtree(scratch)


logger.remove()
if __name__ == "__main__":
    answer_rounds(work)
