#!/usr/bin/env python3
"""usage: make_tokenizer_lines.py

Writes tests/tokenizer/lines/ again: lines of text, small vocabularies trained on such lines, and for each tokenizer what
the libraries that define them (`tokenizers`, `sentencepiece`) make of each line, as a hash of the ids and of the text
that they become again. Needs the packages tokenizers and sentencepiece (with protobuf), as tests/full/tokenizers.sh has
them.

  lines.json          the lines
  byte_level.json     tokens by id and merges of byte-level BPE; pieces are trained whole, so every cut shows
  sentencepiece.json  models of SentencePiece's BPE, by name
  answers.json        {kind: {tokenizer: hashes, four hexadecimal digits a line}}; the kinds are `data` and `goldens`
                      (a tokenizer.json), `byte_level` (a way of cutting, by the name that GGUF files give it) and
                      `sentencepiece`
"""
import json
import pathlib
import sys

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS / "full/lib"))

import tokenizers
from tokenizers import decoders, pre_tokenizers, trainers

import tokenizer_reference as reference
from tokenizer_lines import SENTENCES, lines

FOLDER = TESTS / "tokenizer/lines"
TRAINED_ON = SENTENCES + lines(4000, seed=7)
NUM_LINES = 2000
ALIASES = ["default", "smollm", "refact"]
GOLDENS = ["llama2-mha", "llama3-gqa"]


def hash_of(ids, text):
    """FNV-1a of the ids, four bytes each, and of the text, folded to 16 bits."""
    value = 0x811C9DC5
    for byte in b"".join(id.to_bytes(4, "little") for id in ids) + text.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return f"{value >> 16 ^ value & 0xFFFF:04x}"


def answers(tokenizer, texts):
    if isinstance(tokenizer.decoder, decoders.Metaspace) and tokenizer.decoder.prepend_scheme != "never":
        # Metaspace takes every space from the first token, not only the one that encoding puts there.
        tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.encode_special_tokens = True  # text that spells a special token is text
    ids = [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
    return "".join(hash_of(line, tokenizer.decode(line)) for line in ids)


def train_byte_level():
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.train_from_iterator(TRAINED_ON, trainers.BpeTrainer(
        vocab_size=1200, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    model = json.loads(tokenizer.to_str())["model"]
    return {"tokens": sorted(model["vocab"], key=model["vocab"].get), "merges": [" ".join(pair) for pair in model["merges"]]}


def train_sentencepiece(**options):
    import io
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 20 + TRAINED_ON[:300]), model_writer=model, model_type="bpe", vocab_size=2000, byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, character_coverage=0.98, max_sentence_length=1 << 16,
        minloglevel=2, **options)
    proto = sentencepiece_model_pb2.ModelProto.FromString(model.getvalue())
    return {"add_space_prefix": options["add_dummy_prefix"], "tokens": [piece.piece for piece in proto.pieces],
            "scores": [piece.score for piece in proto.pieces], "types": [piece.type for piece in proto.pieces]}


def sentencepiece_answers(model, texts):
    processor = reference.sentencepiece_model(model["tokens"], model["scores"], model["types"], model["add_space_prefix"])
    return "".join(hash_of(ids, processor.DecodeIds(ids)) for ids in processor.EncodeAsIds(texts))


def write(name, value):
    """One item a line, so that a change shows as what it is."""
    with open(FOLDER / name, "w", encoding="utf-8", newline="\n") as file:
        json.dump(value, file, ensure_ascii=False, indent=0, separators=(",", ":"))
        file.write("\n")


def main():
    texts = lines(NUM_LINES)
    byte_level = train_byte_level()
    vocabulary = {text: id for id, text in enumerate(byte_level["tokens"])}
    merges = [tuple(merge.split(" ")) for merge in byte_level["merges"]]
    runs = ["\u2581" * count for count in range(2, 8)] + ["\n" * count for count in range(1, 5)] + ["<table>"]
    models = {
        "prefix": train_sentencepiece(add_dummy_prefix=True),
        "user-defined": train_sentencepiece(add_dummy_prefix=False, user_defined_symbols=runs),
    }
    results = {
        "data": {path.stem: answers(tokenizers.Tokenizer.from_str(json.dumps(json.loads(path.read_text())["tokenizer"])), texts)
                 for path in sorted((TESTS / "tokenizer/data").glob("*.json")) if path.stem != "default-model"},
        "goldens": {name: answers(tokenizers.Tokenizer.from_file(str(TESTS / "goldens" / name / "tokenizer.json")), texts)
                    for name in GOLDENS},
        "byte_level": {pre: answers(reference.byte_level(vocabulary, merges, pre), texts) for pre in reference.FAMILIES if pre not in ALIASES},
        "sentencepiece": {name: sentencepiece_answers(model, texts) for name, model in models.items()},
    }
    write("lines.json", texts)
    write("byte_level.json", byte_level)
    write("sentencepiece.json", models)
    write("answers.json", results)


if __name__ == "__main__":
    main()
