"""Writes rouge.json: ROUGE-1 recall and ROUGE-L F1 of pairs of texts, by rouge-score without stemming.

    python3 -m venv .venv && .venv/bin/pip install -r requirements-rouge.txt && .venv/bin/python make_rouge.py
"""
import json
import os
import random

import nltk
from rouge_score import rouge_scorer

here = os.path.dirname(os.path.abspath(__file__))
fixtures = os.path.join(here, "..", "..", "fixtures", "prose.jsonl")
texts = [json.loads(line)["text"] for line in open(fixtures, encoding="utf-8")]
texts = [text for text in texts if text.isascii() and 80 < len(text) < 400][:12]
draw = random.Random(42)
scorer = rouge_scorer.RougeScorer(["rouge1", "rougeL"], use_stemmer=False)


def damaged(text):
    words = [word for word in text.split() if draw.random() > 0.2]
    for i in range(len(words) - 1):
        if draw.random() < 0.2:
            words[i], words[i + 1] = words[i + 1], words[i]
    return " ".join(words)


pairs = [(text, damaged(text)) for text in texts] + list(zip(texts[:4], texts[4:8]))
pairs += [("The cat's 3 hats -- don't!", "the cat s 3.5 hats"), ("a b c", "x y z"), (texts[0], texts[0])]
golden = []
for input, output in pairs:
    scores = scorer.score(input, output)
    golden.append({"input": input, "output": output, "rouge1Recall": scores["rouge1"].recall, "rougeL": scores["rougeL"].fmeasure})

# nltk's ngrams stand for what the papers count
ngrams = []
for text in texts[:3] + ["the rain and the rain and the rain and the rain", "one two three"]:
    words = text.lower().replace("'", " ")
    words = "".join(c if c.isalnum() else " " for c in words).split()
    counted = {n: list(nltk.ngrams(words, n)) for n in (2, 4)}
    ngrams.append({
        "text": text,
        "distinct2": len(set(counted[2])) / len(counted[2]),
        "repetition4": 1 - len(set(counted[4])) / len(counted[4]) if counted[4] else None,
    })
with open(os.path.join(here, "rouge.json"), "w", encoding="utf-8") as file:
    json.dump({"pairs": golden, "ngrams": ngrams}, file, indent=1)
    file.write("\n")
