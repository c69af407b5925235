"""The ways in which the peers hold the model of the benchmarks."""

import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig


def load(folder, base):
    """base: nf4 (bitsandbytes, double quantisation, f32 compute), nf4-bf16, float32 or bfloat16."""
    if not base.startswith("nf4"):
        return AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, base))
    compute = torch.bfloat16 if base.endswith("bf16") else torch.float32
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )
    return AutoModelForCausalLM.from_pretrained(folder, dtype=compute, quantization_config=quantization, device_map="cpu")

