"""sft.py FOLDER ROWS BASE MODE THREADS: an epoch of TRL's SFTTrainer a round; its seconds are those of the optimizer steps.

ROWS: lines of {"prompt", "completion"}, both in messages. MODE: packed (sequences of 1024, four a step), padded (eight texts a step, padded
to the longest) or single (eight texts a step, one at a time).
"""

import sys
import tempfile
import time

import torch
from contender import answer_rounds
from datasets import load_dataset
from model import load
from peft import LoraConfig
from transformers import AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer

folder, rows, base, mode, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
batch, accumulation = {"packed": (4, 1), "padded": (8, 1), "single": (1, 8)}[mode]
targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class Seconds(TrainerCallback):
    """Of the training loop alone."""

    def on_train_begin(self, args, state, control, **kwargs):
        self.began = time.perf_counter()

    def on_train_end(self, args, state, control, **kwargs):
        self.seconds = time.perf_counter() - self.began


seconds = Seconds()
trainer = SFTTrainer(
    model=load(folder, base),
    processing_class=AutoTokenizer.from_pretrained(folder),
    train_dataset=load_dataset("json", data_files=rows, split="train", cache_dir=tempfile.mkdtemp()),
    peft_config=LoraConfig(r=32, lora_alpha=16, lora_dropout=0.05, target_modules=targets, task_type="CAUSAL_LM"),
    callbacks=[seconds],
    args=SFTConfig(
        output_dir=tempfile.mkdtemp(),
        num_train_epochs=1,
        learning_rate=1.5e-4,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        packing=mode == "packed",
        max_length=1024,
        completion_only_loss=True,
        bf16=False,  # autocast; the weights' type is the base's
        gradient_checkpointing=False,
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        logging_steps=1,
        disable_tqdm=True,
        seed=42,
    ),
)


def epoch():
    trainer.train()
    return seconds.seconds


answer_rounds(epoch)
