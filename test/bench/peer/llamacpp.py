"""llamacpp.py GGUF REQUESTS PROMPT_TOKENS NEW_TOKENS THREADS: greedy answers of llama.cpp to several requests at once, a round."""

import random
import sys

import llama_cpp
import numpy
from contender import answer_rounds

path, *numbers = sys.argv[1:]
requests, prompt, new, threads = map(int, numbers)
llama_cpp.llama_backend_init()
model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
settings = llama_cpp.llama_context_default_params()
settings.n_ctx = requests * max(256, prompt + new)  # divided among the sequences, each part a multiple of 256
settings.n_batch = settings.n_ubatch = requests * prompt
settings.n_seq_max = requests
settings.n_threads = settings.n_threads_batch = threads
context = llama_cpp.llama_init_from_model(model, settings)
batch = llama_cpp.llama_batch_init(requests * prompt, 0, 1)


def decode(tokens, first):
    """Appends tokens[r] to sequence r at position `first`; answers with the likeliest next token of each."""
    rows, n = [], 0
    for sequence, row in enumerate(tokens):
        for offset, token in enumerate(row):
            batch.token[n], batch.pos[n] = token, first + offset
            batch.n_seq_id[n], batch.seq_id[n][0] = 1, sequence
            batch.logits[n] = offset == len(row) - 1
            n += 1
        rows.append(n - 1)
    batch.n_tokens = n
    assert llama_cpp.llama_decode(context, batch) == 0
    logits = [llama_cpp.llama_get_logits_ith(context, row) for row in rows]
    return [[int(numpy.ctypeslib.as_array(row, (vocabulary,)).argmax())] for row in logits]


def generate():
    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
    numbers = random.Random(0)
    tokens = [[numbers.randrange(vocabulary) for _ in range(prompt)] for _ in range(requests)]
    for first in [0, *range(prompt, prompt + new - 1)]:
        tokens = decode(tokens, first)


answer_rounds(generate)
