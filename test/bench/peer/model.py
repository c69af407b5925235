"""The model of the benchmarks, SmolLM2-135M's shape with random weights, and the ways in which the peers hold it."""

import sys

import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM


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


def make(folder):
    torch.manual_seed(1)
    config = LlamaConfig(
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        vocab_size=49152,
        max_position_embeddings=8192,
        rope_theta=100000.0,
        tie_word_embeddings=True,
        eos_token_id=None,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)


if __name__ == "__main__":
    make(sys.argv[1])
