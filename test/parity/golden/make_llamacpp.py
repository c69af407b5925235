"""make_llamacpp.py FOLDER PROMPT: logits by llama.cpp, in f32, of FOLDER/base.gguf alone and with FOLDER/adapter.gguf if it is there, after
PROMPT in JSON: a list of tokens, or a text that llama.cpp cuts into tokens itself. Of a list of texts, only the tokens that it cuts each into.

Called by make_llamacpp.ts with the Python of ../../bench/peer/environment.sh requirements-llamacpp.txt.
"""

import ctypes
import json
import os
import sys

import llama_cpp
import numpy

folder, tokens = sys.argv[1], json.loads(sys.argv[2])
adapter_file = f"{folder}/adapter.gguf"
llama_cpp.llama_backend_init()
settings = llama_cpp.llama_model_default_params()
settings.vocab_only = isinstance(tokens, list) and isinstance(tokens[0], str)
model = llama_cpp.llama_model_load_from_file(f"{folder}/base.gguf".encode(), settings)
assert model, "llama.cpp does not load base.gguf"
adapter = os.path.exists(adapter_file) and llama_cpp.llama_adapter_lora_init(model, adapter_file.encode())
assert adapter is not None, "llama.cpp does not load adapter.gguf"
vocabulary = llama_cpp.llama_model_get_vocab(model)
size = llama_cpp.llama_vocab_n_tokens(vocabulary)


def cut(text, adds_bos):
    text, ids = text.encode(), (ctypes.c_int32 * 4096)()
    return list(ids[: llama_cpp.llama_tokenize(vocabulary, text, len(text), ids, len(ids), adds_bos, True)])


if settings.vocab_only:
    print(json.dumps({"tokens": [cut(text, False) for text in tokens], "base": []}))
    sys.exit()
if isinstance(tokens, str):
    tokens = cut(tokens, True)


def logits(adapters):
    settings = llama_cpp.llama_context_default_params()
    settings.n_ctx = settings.n_batch = settings.n_ubatch = 256
    settings.n_threads = settings.n_threads_batch = 1
    settings.type_k = settings.type_v = llama_cpp.GGML_TYPE_F32
    settings.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
    context = llama_cpp.llama_init_from_model(model, settings)
    handles = (llama_cpp.llama_adapter_lora_p_ctypes * len(adapters))(*adapters)
    scales = (ctypes.c_float * len(adapters))(*[1.0] * len(adapters))
    assert llama_cpp.llama_set_adapters_lora(context, handles, len(adapters), scales) == 0
    prompt = (ctypes.c_int32 * len(tokens))(*tokens)  # the batch only points to it
    batch = llama_cpp.llama_batch_get_one(prompt, len(tokens))
    assert llama_cpp.llama_decode(context, batch) == 0
    return [float(x) for x in numpy.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context, -1), (size,))]


print(json.dumps({"tokens": tokens, "base": logits([]), "adapted": logits([adapter]) if adapter else []}))
