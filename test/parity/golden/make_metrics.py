"""Writes metrics.json: what published implementations say of the same texts and numbers.

Levenshtein distances by RapidFuzz, longest shared runs by difflib, Flesch-Kincaid grades by textstat, Wilson's and bootstrap intervals by SciPy.

    python3 -m venv .venv && .venv/bin/pip install -r requirements-metrics.txt && .venv/bin/python make_metrics.py
"""
import json
import os
import random
from difflib import SequenceMatcher

import numpy as np
import textstat
from rapidfuzz.distance import Levenshtein
from scipy import stats

here = os.path.dirname(os.path.abspath(__file__))
fixtures = os.path.join(here, "..", "..", "fixtures", "prose.jsonl")
texts = [json.loads(line)["text"] for line in open(fixtures, encoding="utf-8")]
texts = [text for text in texts if text.isascii() and 80 < len(text) < 400]
draw = random.Random(42)


def edited(text, rate):
    letters = []
    for letter in text:
        kind = draw.random() / rate
        if kind < 1 / 3:
            continue
        letters.append("x" if kind < 2 / 3 else letter)
        if 2 / 3 <= kind < 1:
            letters.append("y")
    return "".join(letters)


edits = [(text, edited(text, rate)) for text, rate in zip(texts, (0.01, 0.03, 0.06, 0.3))] + [(texts[4], texts[5]), ("kitten", "sitting")]
edits = [{"a": a, "b": b, "distance": Levenshtein.normalized_distance(a, b)} for a, b in edits]

# tokens of few kinds, so that runs of every length come about by chance; one is planted
runs = []
for planted in (0, 9, 20, 57):
    a, b = ([draw.randrange(3) for _ in range(120)] for _ in range(2))
    a[30 : 30 + planted] = b[50 : 50 + planted]
    match = SequenceMatcher(None, a, b, autojunk=False).find_longest_match()
    runs.append({"a": a, "b": b, "longest": match.size})

grades = [
    {"text": text, "grade": textstat.textstat.flesch_kincaid_grade(text), "syllables": textstat.textstat.syllable_count(text), "sentences": textstat.textstat.sentence_count(text)}
    for text in texts[:30]
]

wilson = []
for yes, of in ((0, 16), (1, 16), (8, 16), (16, 16), (3, 500), (499, 500)):
    interval = stats.binomtest(yes, of).proportion_ci(0.95, method="wilson")
    wilson.append({"yes": yes, "of": of, "low": interval.low, "high": interval.high})

# losses of 60 texts of unequal length under two models
numbers = np.random.default_rng(42)
tokens = numbers.integers(20, 200, 60)
before = tokens * (2 + numbers.normal(0, 0.4, 60))
after = before - tokens * numbers.normal(0.05, 0.15, 60)


def improvement(then, now, weights, axis=-1):
    return (then - now).sum(axis=axis) / weights.sum(axis=axis)


found = stats.bootstrap(
    (before, after, tokens), improvement, paired=True, vectorized=True, method="percentile", n_resamples=200_000, batch=10_000,
    rng=np.random.default_rng(1),
)
bootstrap = {
    "tokens": tokens.tolist(), "before": before.tolist(), "after": after.tolist(), "value": float(improvement(before, after, tokens)),
    "low": float(found.confidence_interval.low), "high": float(found.confidence_interval.high),
}
with open(os.path.join(here, "metrics.json"), "w", encoding="utf-8") as file:
    json.dump({"edits": edits, "runs": runs, "grades": grades, "wilson": wilson, "bootstrap": bootstrap}, file)
    file.write("\n")
