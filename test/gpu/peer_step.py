"""peer_step.py {peft|unsloth} SHAPE: QLoRA steps of another engine on the GPU, as benchmark.ts has ours. SHAPE is JSON: config (of transformers'
LlamaConfig), sequences, length, dropout, steps, checkpointing, folder (for random weights, made once), device. Prints one line of JSON."""

import json
import os
import sys
import time

who, shape = sys.argv[1], json.loads(sys.argv[2])
targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
lora = {"r": 32, "lora_alpha": 16, "lora_dropout": shape["dropout"], "target_modules": targets}

if who == "unsloth":  # wants to be imported first
    from unsloth import FastLanguageModel
import torch
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast


def random_folder(folder):
    if os.path.exists(os.path.join(folder, "made")):
        return folder
    model = LlamaForCausalLM(LlamaConfig(**shape["config"])).to(torch.bfloat16)
    model.save_pretrained(folder)
    words = Tokenizer(models.WordLevel({"<unk>": 0, "<s>": 1, "</s>": 2}, unk_token="<unk>"))
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="</s>").save_pretrained(folder)
    open(os.path.join(folder, "made"), "w").close()
    return folder


def peft_model(folder):
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    quantization = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.bfloat16
    )
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.bfloat16, quantization_config=quantization, device_map=shape["device"]
    )
    model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=shape["checkpointing"])
    return get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **lora))


def unsloth_model(folder):
    model, _ = FastLanguageModel.from_pretrained(
        folder, max_seq_length=shape["length"], dtype=torch.bfloat16, load_in_4bit=True
    )
    checkpointing = "unsloth" if shape["checkpointing"] else False
    return FastLanguageModel.get_peft_model(model, bias="none", use_gradient_checkpointing=checkpointing, random_state=1, **lora)


folder = random_folder(shape["folder"])
model = peft_model(folder) if who == "peft" else unsloth_model(folder)
model.train()
parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
optimizer = torch.optim.AdamW(parameters, lr=1e-4)
generator = torch.Generator().manual_seed(0)
cuda = shape["device"] == "cuda"
seconds = []
for _ in range(shape["steps"] + 2):
    tokens = torch.randint(0, shape["config"]["vocab_size"], (shape["sequences"], shape["length"]), generator=generator)
    tokens = tokens.to(shape["device"])
    start = time.perf_counter()
    with torch.autocast(shape["device"], dtype=torch.bfloat16):
        loss = model(input_ids=tokens, labels=tokens, use_cache=False).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    if cuda:
        torch.cuda.synchronize()
    seconds.append(time.perf_counter() - start)
peak = torch.cuda.max_memory_allocated() if cuda else None
print(json.dumps({"stepSeconds": seconds[2:], "peakBytes": peak}))
