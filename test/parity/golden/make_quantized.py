"""Writes bnb-double/ and bnb-plain/: the tiny Llama of make_golden.py as transformers and bitsandbytes save it in 4 bits.

    oracle/bin/python make_quantized.py        (the environment of make_golden.py)

    bnb-double/  double quantisation, an untied head, two modules kept in bfloat16 by llm_int8_skip_modules, small shards that part a
                 weight from its scales
    bnb-plain/   one level of scales in float32, blocks of 128, the head tied

Each holds expected.json: sha256 of every 4-bit weight as bitsandbytes dequantises it to float32 and, of the tokens and documents of
golden.safetensors, the negative log-likelihood per document that transformers computes from the saved folder, in float32.
"""

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

import torch
from bitsandbytes.functional import dequantize_4bit
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM

from make_golden import ROPE, SHAPE, documents, nll

HERE = Path(__file__).parent
KEPT = ["lm_head", "model.layers.1.mlp.down_proj", "model.layers.0.self_attn"]


def base_model(folder, tied):
    """Saved in bfloat16, as what is quantised usually is."""
    torch.manual_seed(21)
    config = LlamaConfig(**SHAPE | {"tie_word_embeddings": tied}, rope_parameters=ROPE, eos_token_id=2)
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            norm = name.endswith("norm.weight")
            weight.copy_((1.0 if norm else 0.0) + (0.2 if norm else 1.7 / weight.shape[-1] ** 0.5) * torch.randn_like(weight))
    model.bfloat16().save_pretrained(folder)


def quantized(name, tied, double, skipped, block, shard):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    how = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=double,
                             bnb_4bit_compute_dtype=torch.float32, llm_int8_skip_modules=skipped)
    with tempfile.TemporaryDirectory() as base:
        base_model(base, tied)
        model = AutoModelForCausalLM.from_pretrained(base, quantization_config=how, dtype=torch.bfloat16, device_map="cpu")
        if block != 64:  # transformers has no field for it
            requantize(model, base, block)
    model.save_pretrained(folder, max_shard_size=shard)
    (folder / "generation_config.json").unlink(missing_ok=True)

    saved = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", device_map="cpu").eval()
    for parameter in saved.parameters():
        if parameter.dtype == torch.bfloat16:  # what is not quantised comes as it was saved
            parameter.data = parameter.data.float()
    weights = {}
    for path, module in saved.named_modules():
        if type(module).__name__ == "Linear4bit":
            state = module.weight.quant_state
            state.dtype = torch.float32  # of what dequantize_4bit returns; products with float32 inputs use float32 anyway
            values = dequantize_4bit(module.weight.data, state).reshape(state.shape)
            weights[f"{path}.weight"] = hashlib.sha256(values.numpy().tobytes()).hexdigest()
            module.compute_dtype = torch.float32
    with torch.no_grad():
        losses = [float(nll(saved, document)[0].double()) for document in documents()]
    (folder / "expected.json").write_text(json.dumps({"dequantized": weights, "nll": losses}, indent=1) + "\n")


def requantize(model, base, block):
    from bitsandbytes.functional import quantize_4bit
    from safetensors.torch import load_file

    originals = load_file(Path(base) / "model.safetensors")
    for path, module in model.named_modules():
        if type(module).__name__ == "Linear4bit":
            codes, state = quantize_4bit(originals[f"{path}.weight"], blocksize=block, compress_statistics=False, quant_type="nf4")
            module.weight.data, module.weight.quant_state, module.quant_state = codes, state, state


def main():
    assert torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    quantized("bnb-double", tied=False, double=True, skipped=KEPT, block=64, shard="12KB")
    quantized("bnb-plain", tied=True, double=False, skipped=None, block=128, shard="5GB")


if __name__ == "__main__":
    main()
