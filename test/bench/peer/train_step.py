"""train_step.py FOLDER BASE SEQUENCES LENGTH DROPOUT THREADS: one optimizer step of PEFT's LoRA a round, every token labelled."""

import sys

import torch
from contender import answer_rounds
from model import load
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

folder, base, sequences, length, dropout, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
model = load(folder, base)
if base.startswith("nf4"):
    model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
lora = LoraConfig(r=32, lora_alpha=16, lora_dropout=float(dropout), target_modules=targets, task_type="CAUSAL_LM")
model = get_peft_model(model, lora)
model.train()
parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
optimizer = torch.optim.AdamW(parameters, lr=1e-4)
generator = torch.Generator().manual_seed(0)


def step():
    tokens = torch.randint(0, 49152, (int(sequences), int(length)), generator=generator)
    loss = model(input_ids=tokens, labels=tokens, use_cache=False).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


answer_rounds(step)
