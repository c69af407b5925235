"""Writes adapters.safetensors, and peft/: an adapter folder as PEFT writes it.

    oracle/bin/python make_adapters.py        (the environment of make_golden.py)

The base is that of golden.safetensors. peft/ is LoRA of rank 4 on all linear layers. adapters.safetensors:

    logits               float32 of peft/ on the base, [tokens, vocabulary] of the first two documents of golden.safetensors
    bfloat16_error       largest |difference| of the same model run in bfloat16
    merged/NAME          PEFT's merge_and_unload of peft/ into the bfloat16 base
    merged_f16/NAME      the same of one module in float16, with base_f16/NAME before
    adamw8bit/…          six steps of AdamW in 8 bits on one matrix of 70 x 67 (a last block of 82 values):
        parameter, gradients     before, and of each step;  N after it: K/{parameter, first, first_absmax, second, second_absmax}
        bitsandbytes/K/…         the same from bitsandbytes.optim.AdamW8bit itself, on the CPU

Steps: bitsandbytes' CPU kernel finds codes by a table of 65,536 steps, which sends every v below 8e-6 of its block's largest to 0; its
CUDA kernel finds the nearest. The states to equal are therefore a transcription of that kernel (csrc/kernels.cu,
kOptimizerStatic8bit2StateBlockwise and quantize_2D, at 95f9af30) to float32 without fused multiply-adds, with weight decay first as in
bitsandbytes' CPU kernel. The library's own steps stand beside them, with codes found exactly.
"""

import json
import shutil
from pathlib import Path

import bitsandbytes as bnb
import numpy as np
import torch
from bitsandbytes.functional import create_dynamic_map
from peft import PeftModel
from safetensors.torch import save_file

from make_golden import ROPE, adapt, base_model, documents, lora

HERE = Path(__file__).parent
STEPS = dict(lr=3e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)


def quantize_2d(code, x, signed):
    """A value halfway between two codes stays where the search ends, as there."""
    pivot, upper_pivot, lower_pivot = 127, 255, 0
    lower, upper, value = np.float32(-1 if signed else 0), np.float32(1), code[127]
    for i in (64, 32, 16, 8, 4, 2, 1):
        if x > value:
            lower_pivot, lower, pivot = pivot, value, pivot + i
        else:
            upper_pivot, upper, pivot = pivot, value, pivot - i
        value = code[pivot]
    if x > value:
        return upper_pivot if x > (upper + value) * np.float32(0.5) else pivot
    return lower_pivot if x < (lower + value) * np.float32(0.5) else pivot


def kernel_step(p, g, state, step, maps):
    f = np.float32
    b1, b2 = STEPS["betas"]
    correction2 = f(1 / np.sqrt(1 - b2**step))
    rate = f(STEPS["lr"] / (1 - b1**step))
    for begin in range(0, p.size, 256):
        at, block = slice(begin, begin + 256), begin // 256
        m = f(b1) * (maps[0][state["first"][at]] * state["first_absmax"][block]) + f(1 - b1) * g[at]
        v = f(b2) * (maps[1][state["second"][at]] * state["second_absmax"][block]) + f(1 - b2) * g[at] * g[at]
        p[at] = p[at] * f(1 - STEPS["lr"] * STEPS["weight_decay"]) - rate * m / (np.sqrt(v) * correction2 + f(STEPS["eps"]))
        tops = state["first_absmax"][block], state["second_absmax"][block] = np.abs(m).max(), v.max()
        for i, (one, two) in enumerate(zip(m, v)):
            first = quantize_2d(maps[0], one / tops[0], True)
            if np.signbit(maps[0][first]) != np.signbit(one):
                first += 1 if one > 0 else -1
            state["first"][begin + i] = first
            state["second"][begin + i] = quantize_2d(maps[1], two / tops[1], False)


def optimizer(out):
    maps = [create_dynamic_map(signed=signed).numpy() for signed in (True, False)]
    generator = torch.Generator().manual_seed(31)
    shape = (70, 67)
    start = torch.randn(shape, generator=generator)
    # Sizes over many powers of ten, down to where a code of m would lose its sign.
    gradients = torch.randn((6, *shape), generator=generator) * 10 ** (-9 * torch.rand((6, 70, 1), generator=generator))
    out["adamw8bit/parameter"], out["adamw8bit/gradients"] = start, gradients
    count, blocks = start.numel(), -(-start.numel() // 256)
    p = start.numpy().reshape(-1).copy()
    state = {"first": np.full(count, 127, np.uint8), "second": np.zeros(count, np.uint8),
             "first_absmax": np.zeros(blocks, np.float32), "second_absmax": np.zeros(blocks, np.float32)}
    own = torch.nn.Parameter(start.clone())
    theirs = bnb.optim.AdamW8bit([own], **STEPS)
    for step in range(1, 7):
        kernel_step(p, gradients[step - 1].numpy().reshape(-1), state, step, maps)
        own.grad = gradients[step - 1].clone()
        theirs.step()
        if step in (1, 6):
            out[f"adamw8bit/{step}/parameter"] = torch.from_numpy(p.copy())
            out.update({f"adamw8bit/{step}/{k}": torch.from_numpy(v.copy()) for k, v in state.items()})
            of = theirs.state[own]
            names = {"first": "state1", "second": "state2", "first_absmax": "absmax1", "second_absmax": "absmax2"}
            out[f"adamw8bit/bitsandbytes/{step}/parameter"] = own.detach().reshape(-1).clone()
            out.update({f"adamw8bit/bitsandbytes/{step}/{k}": of[v].reshape(-1).clone() for k, v in names.items()})


def exact_codes():
    """float64 takes bitsandbytes' generic path, which finds the nearest code (make_golden.py has more on this)."""
    from bitsandbytes.backends.cpu import ops

    def exact(values, code, absmax_out, out, blocksize):
        codes, absmax = torch.ops.bitsandbytes.quantize_blockwise(values.double(), code, blocksize)
        out.copy_(codes)
        absmax_out.copy_(absmax)

    ops._quant_blockwise_fp32_direct = exact


def adapters(out):
    folder = HERE / "peft"
    shutil.rmtree(folder, ignore_errors=True)
    model = adapt(base_model(ROPE))
    model.save_pretrained(folder)
    (folder / "README.md").unlink()
    docs = documents()[:2]

    def logits(model):
        with torch.no_grad():
            return torch.cat([model(d[None]).logits[0] for d in docs]).float()

    exact = logits(PeftModel.from_pretrained(base_model(ROPE), folder))
    rough = logits(PeftModel.from_pretrained(base_model(ROPE).bfloat16(), folder, autocast_adapter_dtype=False).bfloat16())
    out["logits"] = exact
    out["bfloat16_error"] = (rough - exact).abs().max().reshape(1)
    merged = PeftModel.from_pretrained(base_model(ROPE).bfloat16(), folder).merge_and_unload()
    out.update({f"merged/{k}": v for k, v in merged.state_dict().items() if k.endswith("_proj.weight")})
    half = PeftModel.from_pretrained(base_model(ROPE).half(), folder).merge_and_unload()
    key = "model.layers.1.mlp.down_proj.weight"
    out[f"merged_f16/{key}"] = half.state_dict()[key]
    out[f"base_f16/{key}"] = base_model(ROPE).half().state_dict()[key]


def main():
    assert torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    out = {}
    adapters(out)
    exact_codes()
    optimizer(out)
    save_file({k: v.contiguous() for k, v in out.items()}, HERE / "adapters.safetensors", metadata={"settings": json.dumps(STEPS)})


if __name__ == "__main__":
    main()
