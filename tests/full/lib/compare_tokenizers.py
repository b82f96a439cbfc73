"""usage: compare_tokenizers.py LONGSPAN WORK_FOLDER FILE.gguf...

For the vocabulary of each file: the ids that `longspan tokenize` gives 5,000 lines, and the text that the ids become
again, against the libraries that define these tokenizers; once read from the file itself, and once from the
tokenizer.json of the same vocabulary that `tokenizers` writes. Exit status 1 when anything differs.
"""
import json
import os
import pathlib
import subprocess
import sys
import unicodedata

import tokenizer_reference as reference
from tokenizer_lines import lines

SHOWN = 5


def longspan(program, model, file, *options):
    """What `longspan tokenize` makes of each item of a JSON file."""
    command = [program, "tokenize", "--model", model, "--file", file, *options]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in output.split("\n")[:-1]]


def write_json(path, value):
    path.write_text(json.dumps(value))
    return str(path)


def compare(what, texts, expected, actual):
    wrong = [index for index, ids in enumerate(expected) if ids != actual[index]]
    for index in wrong[:SHOWN]:
        print(f"  {what}: {texts[index]!r}\n    expected {expected[index]}\n    actual   {actual[index]}")
    return len(expected) - len(wrong)


def check(program, work, model, what, texts, ids, shown, ids_with_special):
    """Returns whether all ids are equal and all texts come back. `shown` is what the ids stand for."""
    file = write_json(work / "lines.json", texts)
    actual = longspan(program, model, file, "--no-special")
    equal = compare("ids", texts, ids, actual)
    decoded = longspan(program, model, write_json(work / "ids.json", actual), "--decode")
    back = compare("text", texts, shown, decoded)
    special = compare("with special tokens", texts, ids_with_special, longspan(program, model, file))
    good = equal == back == special == len(texts)
    print(f"{what:40} {equal:5} of {len(texts)} ids equal, {special:5} with special tokens, {back:5} round trips: "
          f"{'passed' if good else 'FAILED'}", flush=True)
    return good


def plain_ids(tokenizer, texts):
    tokenizer.encode_special_tokens = True  # text that spells a special token is text
    return [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]


def compare_file(program, work, path):
    name = pathlib.Path(path).stem.removeprefix("ggml-vocab-")
    metadata = reference.read_metadata(path)
    texts = lines()
    sentencepiece = metadata["model"] == "llama"
    add_space = sentencepiece and metadata.get("add_space_prefix", True)
    if sentencepiece:
        types = reference.with_one_unknown(metadata["token_type"], metadata["unknown_token_id"])
        parts = metadata["tokens"], metadata["scores"], types, add_space
        tokenizer = reference.sentencepiece_as_bpe(*parts)
        ids = reference.sentencepiece_model(*parts).EncodeAsIds(texts)
        # SentencePiece itself does not tell U+2581 from a space.
        shown = [text.replace("\u2581", " ") for text in texts]
    else:
        tokenizer = reference.byte_level_of_gguf(metadata)
        ids = plain_ids(tokenizer, texts)
        nfc = reference.FAMILIES[metadata.get("pre", "default")][1]
        shown = [unicodedata.normalize("NFC", text) if nfc else text for text in texts]
    begins = metadata.get("add_bos_token", sentencepiece or metadata.get("pre") in reference.ADDS_BOS)
    bos = [metadata["bos_token_id"]] if begins else []

    good = check(program, work, path, f"{name} (GGUF)", texts, ids, shown, [bos + line for line in ids])

    folder = work / name
    folder.mkdir()
    if bos:
        token = metadata["tokens"][bos[0]]
        tokenizer.post_processor = reference.begin_with(token, bos[0])
    tokenizer.save(str(folder / "tokenizer.json"))
    ids = plain_ids(tokenizer, texts)
    if add_space:  # it is put after each added token too, so that a text with one does not come back as it was
        shown = tokenizer.decode_batch(ids)
    return check(program, work, str(folder), f"{name} (tokenizer.json)", texts, ids, shown, [bos + line for line in ids]) and good


def main():
    program, work, *files = sys.argv[1:]
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    results = [compare_file(program, pathlib.Path(work), path) for path in files]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
