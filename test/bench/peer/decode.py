"""decode.py FOLDER BASE REQUESTS PROMPT_TOKENS NEW_TOKENS THREADS: greedy answers to several requests at once, a round."""

import sys

import torch
from contender import answer_rounds
from model import load

folder, base, requests, prompt, new, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
model = load(folder, base).eval()
tokens = torch.randint(0, 49152, (int(requests), int(prompt)), generator=torch.Generator().manual_seed(0))
mask = torch.ones_like(tokens)


def generate():
    with torch.inference_mode():
        out = model.generate(tokens, attention_mask=mask, do_sample=False, min_new_tokens=int(new), max_new_tokens=int(new), pad_token_id=0)
    assert out.shape[1] == int(prompt) + int(new)


answer_rounds(generate)
