"""Tokenizers by the libraries that define them, made from the vocabulary of a GGUF file.

Byte-level BPE through `tokenizers`, with the pre-tokenizer that each family publishes in its tokenizer.json;
SentencePiece's BPE through `sentencepiece`, with a model file made of the pieces, scores and types.
"""
import mmap
import struct

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CL100K = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = CL100K.replace(r"\p{N}{1,3}", r"\p{N}")
QWEN35 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
ENDING = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
TEKKEN = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*|\p{{N}}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
O200K = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{ENDING}|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{ENDING}|\p{{N}}{{1,3}}"
         r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DIGIT = r"\p{N}"
HAN_TO_HANGUL = r"[\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+"
DEEPSEEK_LETTERS = (
    r"A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293}\x{295}-\x{2AF}"
    r"\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A}\x{38C}\x{38E}-\x{3A1}"
    r"\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}"
    r"\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}"
    r"\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}"
    r"\x{1F5D}\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC}"
    r"\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107}"
    r"\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}"
    r"\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}"
    r"\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787}"
    r"\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}"
    r"\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}"
    r"\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}")
DEEPSEEK_LLM = [r"[\r\n]", rf"\s?[{DEEPSEEK_LETTERS}]+",
                r"\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+", r"\s+$", HAN_TO_HANGUL, DIGIT]
DEEPSEEK_CODER = [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", HAN_TO_HANGUL, DIGIT]
DEEPSEEK_V3 = [r"\p{N}{1,3}", r"[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+",
               r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
               r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"]

# tokenizer.ggml.pre: the expressions, each of which cuts what the one before it left, whether the text is brought to
# NFC first, and whether a piece that is a token is taken as it is.
FAMILIES = {
    "gpt-2": ([GPT2], False, False),
    "olmo": ([GPT2], True, False),
    "starcoder": ([DIGIT, GPT2], False, False),
    "command-r": ([DIGIT, GPT2], True, False),
    "llama-bpe": ([CL100K], False, True),
    "dbrx": ([CL100K], False, False),
    "qwen2": ([QWEN2], True, False),
    "qwen35": ([QWEN35], True, False),
    "tekken": ([TEKKEN], False, True),
    "gpt-4o": ([O200K], False, False),
    "deepseek-llm": (DEEPSEEK_LLM, False, False),
    "deepseek-coder": (DEEPSEEK_CODER, False, False),
    "deepseek-v3": (DEEPSEEK_V3, False, False),
}
FAMILIES |= {"default": FAMILIES["gpt-2"], "smollm": FAMILIES["starcoder"], "refact": FAMILIES["starcoder"]}
# Those whose texts begin with BOS where the file does not say.
ADDS_BOS = {"llama-bpe", "tekken"}


def read_metadata(path):
    """The metadata of a GGUF file under tokenizer.ggml, by what follows that in their names."""
    formats = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = 0

        def read(form):
            nonlocal at
            value = struct.unpack_from(form, data, at)[0]
            at += struct.calcsize(form)
            return value

        def read_value(kind):
            nonlocal at
            if kind == 8:
                begin = at + 8
                at = begin + struct.unpack_from("<Q", data, at)[0]
                return data[begin:at].decode()
            if kind == 9:
                kind, count = read("<I"), read("<Q")
                return [read_value(kind) for _ in range(count)]
            return read(formats[kind])

        assert data[:4] == b"GGUF"
        at = 16
        fields = {}
        for _ in range(read("<Q")):
            name = read_value(8)
            fields[name] = read_value(read("<I"))
    prefix = "tokenizer.ggml."
    return {name.removeprefix(prefix): value for name, value in fields.items() if name.startswith(prefix)}


def byte_level(vocabulary, merges, pre):
    """Byte-level BPE with the pre-tokenizer of a family."""
    patterns, nfc, ignores_merges = FAMILIES[pre]
    tokenizer = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=ignores_merges))
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    splits = [pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated") for pattern in patterns]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        splits + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def add_tokens(tokenizer, tokens, types):
    """Control tokens become special, user-defined ones are found in any text."""
    def of_kind(wanted):
        return [tokenizers.AddedToken(text, normalized=False) for text, kind in zip(tokens, types) if kind in wanted]

    tokenizer.add_special_tokens(of_kind({CONTROL, UNKNOWN}))
    tokenizer.add_tokens(of_kind({USER_DEFINED}))


def byte_level_of_gguf(metadata):
    tokens = metadata["tokens"]
    # The added ones keep their ids by being in the vocabulary too.
    vocabulary = {text: id for id, text in enumerate(tokens)}
    merges = [tuple(merge.split(" ")) for merge in metadata["merges"]]
    tokenizer = byte_level(vocabulary, merges, metadata.get("pre", "default"))
    add_tokens(tokenizer, tokens, metadata["token_type"])
    return tokenizer


def with_one_unknown(types, unknown_id):
    """Token types as a SentencePiece model has them: one unknown token. Files give that type to unused ids, too."""
    return [UNKNOWN if id == unknown_id else CONTROL if kind == UNKNOWN else kind for id, kind in enumerate(types)]


def sentencepiece_model(pieces, scores, types, add_dummy_prefix):
    """A SentencePiece BPE model: a processor of its own library."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2
    model = sentencepiece_model_pb2.ModelProto()
    for text, score, kind in zip(pieces, scores, types):
        # GGUF has user-defined tokens as they stand in a text, the model file as they are found in it.
        model.pieces.add(piece=text.replace(" ", "\u2581") if kind == USER_DEFINED else text, score=score, type=kind)
    model.trainer_spec.model_type = sentencepiece_model_pb2.TrainerSpec.BPE
    model.trainer_spec.vocab_size = len(pieces)
    model.trainer_spec.byte_fallback = BYTE in types
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = add_dummy_prefix
    model.normalizer_spec.remove_extra_whitespaces = False
    model.normalizer_spec.escape_whitespaces = True
    processor = sentencepiece.SentencePieceProcessor()
    processor.LoadFromSerializedProto(model.SerializeToString())
    return processor


def merges_of_scores(pieces, scores):
    """Every way to put a piece together, the best pieces first."""
    ids = {text: id for id, text in enumerate(pieces) if text}
    merges = []
    for text, id in ids.items():
        for cut in range(1, len(text)):
            left, right = text[:cut], text[cut:]
            if left in ids and right in ids:
                merges.append((-scores[id], ids[left], ids[right], left, right))
    return [(left, right) for *_, left, right in sorted(merges)]


def sentencepiece_as_bpe(pieces, scores, types, add_dummy_prefix):
    """The same vocabulary in the way that tokenizer.json files of such models are put together."""
    normal = [text if kind == NORMAL else "" for text, kind in zip(pieces, types)]
    tokenizer = tokenizers.Tokenizer(models.BPE(
        vocab={text: id for id, text in enumerate(pieces)}, merges=merges_of_scores(normal, scores), unk_token="<unk>",
        fuse_unk=True, byte_fallback=True))
    steps = [normalizers.Prepend("\u2581")] if add_dummy_prefix else []
    tokenizer.normalizer = normalizers.Sequence(steps + [normalizers.Replace(" ", "\u2581")])
    steps = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(steps + ([decoders.Strip(" ", 1, 0)] if add_dummy_prefix else []))
    add_tokens(tokenizer, pieces, types)
    return tokenizer


def begin_with(token, id):
    """A post-processor that puts one token before a text."""
    return processors.TemplateProcessing(single=f"{token} $A", special_tokens=[(token, id)])
