"""Writes curvature.json: what PyTorch says of texts under test/fixtures/tiny-llama, by the formulas of Fast-DetectGPT.

    python3 -m venv oracle && oracle/bin/pip install -r requirements.txt && oracle/bin/python make_curvature.py

The analytic criterion of Bao et al. 2024 (arXiv 2310.05130, https://github.com/baoguangsheng/fast-detect-gpt), with the scoring model as
its own reference, in float64: discrepancy = (sum log p(x) - sum E[log p]) / sqrt(sum Var[log p]).
"""

import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

FOLDER = Path(__file__).resolve().parents[2] / "fixtures" / "tiny-llama"
model = AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32).eval()
vocabulary = model.config.vocab_size
torch.manual_seed(7)

texts = []
for length in (2, 3, 17, 60, 200):
    tokens = torch.randint(0, vocabulary, (1, length))
    with torch.no_grad():
        logits = model(tokens).logits[:, :-1].double()
    labels = tokens[:, 1:].unsqueeze(-1)
    log_p = torch.log_softmax(logits, dim=-1)
    p = log_p.exp()
    log_probability = log_p.gather(-1, labels).sum().item()
    mean = (p * log_p).sum(-1)
    variance = ((p * log_p.square()).sum(-1) - mean.square()).sum().item()
    mean = mean.sum().item()
    texts.append({
        "tokens": tokens[0].tolist(),
        "logProbability": log_probability,
        "mean": mean,
        "variance": variance,
        "discrepancy": (log_probability - mean) / variance**0.5,
    })
(Path(__file__).parent / "curvature.json").write_text(json.dumps({"texts": texts}) + "\n")
