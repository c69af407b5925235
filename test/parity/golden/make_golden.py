"""Writes golden.safetensors: what PyTorch, PEFT and bitsandbytes say about a tiny random Llama.

    python3 -m venv oracle && oracle/bin/pip install -r requirements.txt && oracle/bin/python make_golden.py

Sizes are odd on purpose: blocks of 64 cross rows and end ragged, heads are grouped, the head is tied. All compute is float32 on the
CPU, which must have AVX2 (else torch.linspace makes another dynamic map); every base weight is a bfloat16 number, so that quantisation
has one right answer. Tensors (b = 'none' or 'nf4'):

    base/NAME             the model, bfloat16                      tokens, documents   int32; documents are unpacked here
    adapter/NAME          LoRA before training                     labels              int32, shifted, -100 ignored
    b/nll                 per document, no adapter                 b/logits            after the first document's last token, with adapter
    b/gradient/NAME       of the summed NLL, dropout 0             b/trained/NAME      adapter after ten AdamW steps
    b/losses              mean NLL per label before each step      b/norms             gradient norm before clipping, each step
    llama3/nll            per document under llama3 rope scaling, no adapter
    FAMILY/nll            per document, no adapter, of another family with the same weights;  FAMILY/base/NAME   its biases, bfloat16
    quantized/NAME/…      codes, absmax, absmax_code, absmax_scale, offset
    edge/NAME/…           the same five of weights that training seldom has, their bfloat16 values, and dequantized: float32 again,
                          from the doubly quantised form
    dynamic_map           the 256 values that an absmax_code stands for
    format/T/{blocks,values}   GGUF blocks of type T and gguf-py's values
"""

import json
from pathlib import Path

import bitsandbytes as bnb
import gguf
import numpy as np
import torch
from bitsandbytes import functional
from bitsandbytes.functional import dequantize_4bit, quantize_4bit
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import (
    LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, Qwen2Config, Qwen2ForCausalLM)

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SHAPE = dict(
    hidden_size=56, intermediate_size=88, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=14,
    vocab_size=101, rms_norm_eps=1e-5, tie_word_embeddings=True, max_position_embeddings=512, attention_bias=False,
)
ROPE = {"rope_type": "default", "rope_theta": 10000.0}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}
LENGTHS = [37, 150, 5, 64]
ADAMW = dict(lr=1e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)


def exact_absmax_codes():
    """bitsandbytes' CPU kernel for float32 finds 8-bit codes by a table of 65,536 steps and misses the nearest code about once in 700;
    its CUDA kernels and its generic path, which float64 takes, find the nearest. The goldens follow those."""
    approximate = functional.quantize_blockwise

    def exact(A, *args, **kwargs):
        _, state = approximate(A, *args, **kwargs)
        codes, _ = torch.ops.bitsandbytes.quantize_blockwise(A.double(), state.code, state.blocksize)
        return codes, state

    functional.quantize_blockwise = exact


def base_model(rope):
    config = LlamaConfig(**SHAPE, rope_parameters=rope, attn_implementation="eager", dtype=torch.float32)
    torch.manual_seed(11)
    model = LlamaForCausalLM(config).float().eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            scale = 0.2 if name.endswith("norm.weight") else 1.7 / weight.shape[-1] ** 0.5
            centre = 1.0 if name.endswith("norm.weight") else 0.0
            weight.copy_((centre + scale * torch.randn_like(weight)).bfloat16())
    return model


def quantize(model):
    for layer in model.model.layers:
        for parent in (layer.self_attn, layer.mlp):
            for name, linear in list(parent.named_children()):
                if not isinstance(linear, torch.nn.Linear):
                    continue
                four = bnb.nn.Linear4bit(linear.in_features, linear.out_features, bias=False, compute_dtype=torch.float32,
                                         compress_statistics=True, quant_type="nf4")
                four.weight = bnb.nn.Params4bit(linear.weight.data.clone(), requires_grad=False, compress_statistics=True,
                                                quant_type="nf4", module=four)
                setattr(parent, name, four.to("cpu"))
    return model


def documents():
    generator = torch.Generator().manual_seed(12)
    return [torch.randint(0, SHAPE["vocab_size"], (n,), generator=generator) for n in LENGTHS]


def labels_of(document):
    """Next token; the first third is a prompt without loss, the last position has no next token."""
    labels = torch.full_like(document, -100)
    begin = len(document) // 3
    labels[begin:-1] = document[begin + 1:]
    return labels


def nll(model, document):
    logits = model(document[None]).logits[0]
    return torch.nn.functional.cross_entropy(logits, labels_of(document), ignore_index=-100, reduction="sum"), logits


def adapt(model):
    model = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, lora_dropout=0.0, target_modules=TARGETS, task_type="CAUSAL_LM"))
    generator = torch.Generator().manual_seed(13)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:  # B too: with B = 0 the gradient of A is 0 and would prove nothing
                weight.copy_(0.15 * torch.randn(weight.shape, generator=generator))
    return model


def lora(model):
    return {n.replace(".default", ""): p for n, p in model.named_parameters() if "lora_" in n}


def train(out, prefix, model):
    docs = documents()
    with torch.no_grad():
        out[f"{prefix}/nll"] = torch.stack([nll(model, d)[0] for d in docs]).double()
    model = adapt(model)
    parameters = lora(model)
    if prefix == "none":
        out.update({f"adapter/{n}": p.detach().clone() for n, p in parameters.items()})
    with torch.no_grad():
        out[f"{prefix}/logits"] = nll(model, docs[0])[1][-1].clone()
    optimizer = torch.optim.AdamW(parameters.values(), **ADAMW)
    count = sum(int((labels_of(d) >= 0).sum()) for d in docs)
    losses, norms = [], []
    for step in range(10):
        optimizer.zero_grad()
        total = sum(nll(model, d)[0] for d in docs)
        total.backward()
        if step == 0:
            out.update({f"{prefix}/gradient/{n}": p.grad.clone() for n, p in parameters.items()})
        for p in parameters.values():
            p.grad /= count
        norms.append(torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0))
        losses.append(total.detach() / count)
        optimizer.step()
    out[f"{prefix}/losses"] = torch.stack(losses).double()
    out[f"{prefix}/norms"] = torch.stack(norms).double()
    out.update({f"{prefix}/trained/{n}": p.detach().clone() for n, p in parameters.items()})


def families(out):
    """Losses of each, and the config.json that transformers writes for it."""
    kinds = {
        "qwen2": (Qwen2Config, Qwen2ForCausalLM, {}),
        "mistral": (MistralConfig, MistralForCausalLM, {"sliding_window": None}),
        "biased": (LlamaConfig, LlamaForCausalLM, {"attention_bias": True}),
    }
    weights = base_model(ROPE).state_dict()
    generator = torch.Generator().manual_seed(16)
    configs = {}
    for family, (Config, Model, changes) in kinds.items():
        shape = {key: value for key, value in SHAPE.items() if key != "attention_bias"} | changes
        config = Config(**shape, rope_parameters=ROPE, attn_implementation="eager", dtype=torch.float32, architectures=[Model.__name__])
        model = Model(config).float().eval()
        model.load_state_dict(weights, strict=False)
        with torch.no_grad():
            for name, bias in model.named_parameters():
                if name.endswith(".bias"):
                    bias.copy_((0.5 * torch.randn(bias.shape, generator=generator)).bfloat16())
                    out[f"{family}/base/{name}"] = bias.detach().bfloat16()
            out[f"{family}/nll"] = torch.stack([nll(model, d)[0] for d in documents()]).double()
        configs[family] = json.loads(config.to_json_string())
    return configs


def nf4(out, key, weight):
    codes, state = quantize_4bit(weight, blocksize=64, compress_statistics=False, quant_type="nf4")
    _, nested = quantize_4bit(weight, blocksize=64, compress_statistics=True, quant_type="nf4")
    out[f"{key}/codes"], out[f"{key}/absmax"] = codes.reshape(-1).clone(), state.absmax.clone()
    out[f"{key}/absmax_code"], out[f"{key}/absmax_scale"] = nested.absmax.clone(), nested.state2.absmax.clone()
    out[f"{key}/offset"] = nested.offset.reshape(1).clone()
    return codes, nested


def edges(out):
    generator = torch.Generator().manual_seed(15)
    uniform = lambda *shape: torch.rand(shape, generator=generator)
    normal = lambda *shape: torch.randn(shape, generator=generator)
    holes = normal(12, 64)
    holes[2:5], holes[11] = 0, 0
    signs = torch.where(uniform(9, 64) < 0.5, -1.0, 1.0)
    weights = {
        "heavy_tailed": torch.tan(torch.pi * (uniform(91, 187) - 0.5)),  # Cauchy, in two groups of scales
        "constant": torch.full((9, 64), 0.3),
        "one_size": 0.3 * signs * torch.arange(1, 10)[:, None],
        "zero_blocks": holes,
        "zeros": torch.zeros(3, 64),
        "crossing_rows": normal(7, 100) * torch.arange(1, 8)[:, None],
        "one_value": torch.full((1, 1), -2.5),
        "tiny_and_huge": normal(6, 64) * 10.0 ** torch.tensor([-37.0, -30.0, -3.0, 3.0, 30.0, 37.0])[:, None],
    }
    for name, weight in weights.items():
        weight = weight.bfloat16()
        codes, nested = nf4(out, f"edge/{name}", weight)
        nested.dtype = torch.float32
        out[f"edge/{name}/values"] = weight.reshape(-1)
        out[f"edge/{name}/dequantized"] = dequantize_4bit(codes, nested).reshape(-1).clone()


def formats(out):
    random = np.random.default_rng(14)
    for name, values, size, halves in [("Q8_0", 32, 34, [0]), ("Q4_0", 32, 18, [0]), ("Q4_1", 32, 20, [0, 2]), ("Q6_K", 256, 210, [208])]:
        blocks = random.integers(0, 256, (6, size), dtype=np.uint8)
        for at in halves:
            blocks[:, at:at + 2] = random.normal(0, 0.1, (6, 1)).astype(np.float16).view(np.uint8)
        decoded = gguf.quants.dequantize(blocks.reshape(1, -1), getattr(gguf.GGMLQuantizationType, name))
        assert decoded.size == 6 * values
        out[f"format/{name}/blocks"] = torch.from_numpy(blocks.reshape(-1).copy())
        out[f"format/{name}/values"] = torch.from_numpy(decoded.reshape(-1).copy())


def main():
    assert torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    exact_absmax_codes()
    out = {}
    model = base_model(ROPE)
    for name, weight in model.named_parameters():
        out[f"base/{name}"] = weight.detach().bfloat16()
        if name.endswith("_proj.weight"):
            nf4(out, f"quantized/{name}", weight.detach().bfloat16())
    docs = documents()
    out["tokens"] = torch.cat(docs).int()
    out["labels"] = torch.cat([labels_of(d) for d in docs]).int()
    out["documents"] = torch.tensor([0, *np.cumsum(LENGTHS)]).int()
    train(out, "none", model)
    train(out, "nf4", quantize(base_model(ROPE)))
    with torch.no_grad():
        scaled = base_model(LLAMA3)
        out["llama3/nll"] = torch.stack([nll(scaled, d)[0] for d in docs]).double()
    out["dynamic_map"] = functional.create_dynamic_map(signed=True)
    configs = families(out)
    edges(out)
    formats(out)
    settings = {"shape": SHAPE, "rope": ROPE, "llama3": LLAMA3, "adamw": ADAMW, "maxGradientNorm": 1.0, "rank": 4, "alpha": 8,
                "configs": configs}
    save_file({k: v.contiguous() for k, v in out.items()}, Path(__file__).with_name("golden.safetensors"),
              metadata={"settings": json.dumps(settings)})


if __name__ == "__main__":
    main()
