"""Broken model files: a GGUF editor, a safetensors editor, and damage of every kind made from whole models."""
import dataclasses
import json
import pathlib
import random
import struct

UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY, UINT64 = 4, 5, 6, 7, 8, 9, 10
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
BLOCKS = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 12: (256, 144), 13: (256, 176),
          14: (256, 210), 30: (1, 2)}
HUGE = [2**64 - 1, 2**63, 2**63 - 1, 2**61, 2**40, 2**32, 2**31]


@dataclasses.dataclass
class Case:
    """Files of a model, by name; `words` are parts of the message that must refuse it, or None where it may be whole."""
    what: str
    files: dict
    words: tuple = None

    @property
    def path(self):
        """What to open: the first GGUF file, or the folder itself."""
        return "" if "config.json" in self.files else next(iter(self.files))


def text(value):
    return struct.pack("<Q", len(value)) + value


class Gguf:
    """A file taken apart. `places` says where the numbers of its header lie: (what, offset, bytes)."""

    def __init__(self, data):
        self.places = [("tensor count", 8, 8), ("key count", 16, 8)]
        tensors, keys = struct.unpack_from("<QQ", data, 8)
        at, self.keys, self.tensors = 24, {}, {}
        for _ in range(keys):
            self.places.append(("key length", at, 8))
            name, at = self._text(data, at)
            kind, = struct.unpack_from("<I", data, at)
            self.places.append((f"type of {name.decode()}", at, 4))
            end = self._skip(data, at + 4, kind, name.decode())
            self.keys[name.decode()] = (kind, data[at + 4:end])
            at = end
        for _ in range(tensors):
            self.places.append(("name length of a tensor", at, 8))
            name, at = self._text(data, at)
            dimensions, = struct.unpack_from("<I", data, at)
            self.places.append((f"dimensions of {name.decode()}", at, 4))
            shape = list(struct.unpack_from(f"<{dimensions}Q", data, at + 4))
            self.places += [(f"a size of {name.decode()}", at + 4 + 8 * i, 8) for i in range(dimensions)]
            at += 4 + 8 * dimensions
            self.places += [(f"format of {name.decode()}", at, 4), (f"offset of {name.decode()}", at + 4, 8)]
            kind, offset = struct.unpack_from("<IQ", data, at)
            self.tensors[name.decode()] = [shape, kind, offset]
            at += 12
        self.header = at
        self.data = data[(at + 31) // 32 * 32:]

    @staticmethod
    def _text(data, at):
        size, = struct.unpack_from("<Q", data, at)
        return data[at + 8:at + 8 + size], at + 8 + size

    def _skip(self, data, at, kind, name):
        if kind == STRING:
            self.places.append((f"length of {name}", at, 8))
            return self._text(data, at)[1]
        if kind != ARRAY:
            return at + SIZES[kind]
        element, count = struct.unpack_from("<IQ", data, at)
        self.places += [(f"element type of {name}", at, 4), (f"count of {name}", at + 4, 8)]
        at += 12
        for _ in range(count):
            at = self._text(data, at)[1] if element == STRING else at + SIZES[element]
        return at

    def bytes_of(self, name):
        shape, kind, offset = self.tensors[name]
        elements, size = BLOCKS[kind]
        total = size
        for dimension in shape:
            total *= dimension
        return offset, total // elements

    def build(self):
        out = b"GGUF" + struct.pack("<IQQ", 3, len(self.tensors), len(self.keys))
        for name, (kind, value) in self.keys.items():
            out += text(name.encode()) + struct.pack("<I", kind) + value
        for name, (shape, kind, offset) in self.tensors.items():
            out += text(name.encode()) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
            out += struct.pack("<IQ", kind, offset)
        return out + b"\0" * (-len(out) % 32) + self.data


def patch(data, offset, value):
    return data[:offset] + value + data[offset + len(value):]


class Safetensors:
    def __init__(self, data):
        size, = struct.unpack_from("<Q", data)
        self.header, self.data = json.loads(data[8:8 + size]), data[8 + size:]

    def build(self):
        header = json.dumps(self.header).encode()
        return struct.pack("<Q", len(header)) + header + self.data


def gguf_metadata(name, whole, architecture):
    """Settings that no file can have. Every one is named in the message."""
    def case(what, key, value, words=None):
        gguf = Gguf(whole)
        if value is None:
            del gguf.keys[key]
        else:
            gguf.keys[key] = value
        return Case(f"{name}: {what}", {"model.gguf": gguf.build()}, (words or key,))

    def u32(value):
        return UINT32, struct.pack("<I", value)

    def f32(value):
        return FLOAT32, struct.pack("<f", value)

    def string(value):
        return STRING, text(value)

    a = architecture
    yield case("unknown architecture", "general.architecture", string(b"mamba-x"), "mamba-x")
    yield case("architecture with control bytes", "general.architecture", string(b"\x1b[2J\xff"), "general.architecture")
    yield case("architecture is a number", "general.architecture", u32(7))
    for what in ("block_count", "embedding_length", "feed_forward_length", "attention.head_count", "context_length",
                 "attention.layer_norm_rms_epsilon"):
        yield case(f"no {what}", f"{a}.{what}", None)
        yield case(f"{what} 0", f"{a}.{what}", u32(0))
    yield case("10,000 layers", f"{a}.block_count", u32(10_000), "blk.")
    yield case("4 billion layers", f"{a}.block_count", u32(2**32 - 1))
    yield case("negative layers", f"{a}.block_count", (INT32, struct.pack("<i", -3)))
    yield case("layers as text", f"{a}.block_count", string(b"three"))
    yield case("layers beyond 63 bits", f"{a}.block_count", (UINT64, struct.pack("<Q", 2**64 - 1)))
    yield case("another hidden size", f"{a}.embedding_length", u32(4096), "token_embd.weight")
    yield case("another FFN size", f"{a}.feed_forward_length", u32(2**30), "ffn_")
    yield case("heads that KV heads do not divide", f"{a}.attention.head_count_kv", u32(3))
    yield case("KV heads by layer", f"{a}.attention.head_count_kv", (ARRAY, struct.pack("<IQ3I", UINT32, 3, 2, 2, 2)))
    yield case("head size 17", f"{a}.attention.key_length", u32(17))
    yield case("head size 2^31", f"{a}.attention.key_length", u32(2**31))
    yield case("context of 4 billion", f"{a}.context_length", u32(2**32 - 1))
    for value in (float("nan"), float("inf"), -1e-5):
        yield case(f"epsilon {value}", f"{a}.attention.layer_norm_rms_epsilon", f32(value))
        yield case(f"RoPE base {value}", f"{a}.rope.freq_base", f32(value))
    yield case("epsilon beyond float", f"{a}.attention.layer_norm_rms_epsilon", (12, struct.pack("<d", 1e300)))
    yield case("RoPE scaling longrope", f"{a}.rope.scaling.type", string(b"longrope"), "longrope")
    yield case("experts", f"{a}.expert_count", u32(8))
    yield case("end token beyond the vocabulary", "tokenizer.ggml.eos_token_id", u32(2**31))
    yield case("alignment 0", "general.alignment", u32(0))
    yield case("alignment 2^30", "general.alignment", u32(2**30))
    yield case("alignment 24", "general.alignment", u32(24))
    yield case("part 1 of 60,000", "split.count", u32(60_000), "split.no")
    yield case("part count of 4 billion", "split.count", u32(2**32 - 1))


def gguf_tensors(name, whole):
    def case(what, change, *words):
        gguf = Gguf(whole)
        change(gguf)
        return Case(f"{name}: {what}", {"model.gguf": gguf.build()}, words or None)

    down = "blk.0.ffn_down.weight"

    def edit(index, value, tensor=down):
        return lambda gguf: gguf.tensors[tensor].__setitem__(index, value)

    def fill(tensor, value, where=0):
        def change(gguf):
            offset, size = gguf.bytes_of(tensor)
            at = offset + (where if where >= 0 else size + where)
            gguf.data = patch(gguf.data, at, value)
        return change

    def without(tensor):
        return lambda gguf: gguf.tensors.pop(tensor)

    parts = Gguf(whole)
    shape, kind, offset = parts.tensors[down]
    for tensor in ("token_embd.weight", "output_norm.weight", "blk.1.attn_q.weight", "blk.0.attn_norm.weight"):
        yield case(f"without {tensor}", without(tensor), tensor)
    yield case("without any tensor", lambda gguf: gguf.tensors.clear(), "vocabulary alone")
    yield case("with another tensor", lambda gguf: gguf.tensors.update({"blk.0.moe.weight": [shape, kind, offset]}), "blk.0.moe.weight")
    yield case("a matrix of other rows", edit(0, [shape[0], shape[1] // 2]), down)
    yield case("a matrix with a third size", edit(0, [*shape, 1]), down)
    yield case("no sizes", edit(0, []), down)
    yield case("five sizes", edit(0, [1] * 5), down)
    yield case("sizes whose product overflows", edit(0, [2**40, 2**40]), down)
    yield case("a size of 0", edit(0, [0, shape[1]]), down)
    yield case("bytes that overflow", edit(0, [32 * 2**56, 1]), down)
    yield case("unknown format", edit(1, 99), down)
    yield case("format IQ4_XS", edit(1, 23), down, "IQ4_XS")
    yield case("format I32", edit(1, 26), down)
    yield case("offset not aligned", edit(2, offset + 1), down)
    yield case("offset beyond the end", edit(2, len(parts.data) + 32 & ~31), down)
    yield case("offset that overflows", edit(2, 2**64 - 32), down)
    yield case("two tensors in one place", edit(2, 0))
    norm = "blk.0.attn_norm.weight"
    for value in (float("nan"), float("inf")):
        yield case(f"{value} in a norm", fill(norm, struct.pack("<f", value), 8), norm)
    scale = {14: 208}.get(kind, 0)  # where a block's float16 scale lies
    for what, bits in (("NaN", 0x7fff), ("infinite", 0xfc00 if kind not in (0, 30) else 0xff80)):
        value = struct.pack("<H", bits) if kind else struct.pack("<I", bits << 16)
        yield case(f"{what} in the first block", fill(down, value, scale), down)
        yield case(f"{what} in the last block", fill(down, value, scale - BLOCKS[kind][1]), down)


def gguf_parts(name, whole):
    """A model in two files, of which one is broken."""
    first, second = "model-00001-of-00002.gguf", "model-00002-of-00002.gguf"

    def part(number, tensors, count=2):
        gguf = Gguf(whole)
        if number:
            gguf.keys = {}
        gguf.keys["split.no"] = UINT32, struct.pack("<I", number)
        gguf.keys["split.count"] = UINT32, struct.pack("<I", count)
        gguf.tensors = {tensor: gguf.tensors[tensor] for tensor in tensors}
        return gguf.build()

    def case(what, files, *words):
        return Case(f"{name} in two parts: {what}", files, words)

    tensors = list(Gguf(whole).tensors)
    half = len(tensors) // 2
    one, two = part(0, tensors[:half]), part(1, tensors[half:])
    yield Case(f"{name} in two parts: whole", {first: one, second: two})
    yield case("the second missing", {first: one}, second)
    yield case("the second cut", {first: one, second: two[:len(two) // 2]}, second)
    yield case("the second empty", {first: one, second: b""}, second)
    yield case("the second twice", {first: one, second: one}, second, "split.no")
    yield case("the second of three", {first: one, second: part(1, tensors[half:], 3)}, second, "split.count")
    yield case("a tensor in both", {first: one, second: part(1, tensors[half - 1:])}, tensors[half - 1], "earlier part")
    yield case("a tensor in neither", {first: one, second: part(1, tensors[half + 1:])}, tensors[half], "missing")
    yield case("no first", {second: two}, "give the first")


def gguf_bytes(name, whole, seed):
    """Damage that knows nothing of the contents, or only where numbers lie."""
    rng = random.Random(seed)
    gguf = Gguf(whole)

    def case(what, data, *words):
        return Case(f"{name}: {what}", {"model.gguf": data}, words or None)

    yield case("empty", b"", "empty")
    yield case("three bytes", whole[:3], "magic")
    yield case("another magic number", patch(whole, 0, b"GGML"), "not a GGUF file")
    yield case("version 2", patch(whole, 4, struct.pack("<I", 2)), "version 2")
    yield case("big-endian", patch(whole, 4, struct.pack(">I", 3)), "big-endian")
    yield case("zeros behind the magic number", whole[:4] + bytes(4096), "version 0")
    for _ in range(6):
        size = rng.randrange(4, gguf.header)
        yield case(f"header cut at {size}", whole[:size], "damaged")
    for _ in range(4):
        size = rng.randrange(gguf.header, len(whole) - 64)
        yield case(f"data cut at {size}", whole[:size], "do not lie")
    for what, offset, size in rng.sample(gguf.places, min(12, len(gguf.places))):
        value = rng.choice([huge for huge in HUGE if huge < 2**(8 * size)])
        yield case(f"{what} = {value}", patch(whole, offset, value.to_bytes(size, "little")))
    for _ in range(8):
        data, flips = bytearray(whole), rng.choice([1, 1, 4, 16])
        for _ in range(flips):
            data[rng.randrange(gguf.header)] ^= 1 << rng.randrange(8)
        yield case(f"{flips} bits flipped in the header", bytes(data))
    for _ in range(4):
        data = bytearray(whole)
        for _ in range(64):
            data[rng.randrange(gguf.header, len(whole))] = rng.randrange(256)
        yield case("64 bytes of data drawn anew", bytes(data))


def gguf_tokenizer(name, whole):
    """Of a file with a byte-pair vocabulary."""
    def case(what, key, value, words=None):
        gguf = Gguf(whole)
        gguf.keys[key] = value
        return Case(f"{name}: {what}", {"model.gguf": gguf.build()}, (words or key,))

    def strings(*values):
        return ARRAY, struct.pack("<IQ", STRING, len(values)) + b"".join(map(text, values))

    yield case("tokens are numbers", "tokenizer.ggml.tokens", (ARRAY, struct.pack("<IQ2I", UINT32, 2, 1, 2)))
    yield case("two tokens for a vocabulary", "tokenizer.ggml.tokens", strings(b"a", b"b"), "tokens")
    yield case("merges of unknown tokens", "tokenizer.ggml.merges", strings(b"qqqqqq zzzzzz"), "merge 0")
    yield case("merges of one token", "tokenizer.ggml.merges", strings(b"one"), "merge")
    yield case("one token type", "tokenizer.ggml.token_type", (ARRAY, struct.pack("<IQi", INT32, 1, 1)))
    yield case("unknown tokenizer", "tokenizer.ggml.model", (STRING, text(b"rwkv")))
    yield case("unknown cutting rule", "tokenizer.ggml.pre", (STRING, text(b"nobody")))
    yield case("begin token beyond the vocabulary", "tokenizer.ggml.bos_token_id", (UINT32, struct.pack("<I", 2**31)))


def folder_json(name, files, seed):
    rng = random.Random(seed)

    def case(what, file, content, *words):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        return Case(f"{name}: {what}", {**files, file: content}, words or None)

    config = json.loads(files["config.json"])

    def setting(key, value):
        changed = dict(config)
        changed[key] = value
        return case(f"{key} = {json.dumps(value)[:40]}", "config.json", changed, key)

    yield case("config.json empty", "config.json", b"", "config.json")
    yield case("config.json a list", "config.json", b"[1]", "config.json")
    yield case("config.json of a million brackets", "config.json", b'{"a":' + b"[" * 1_000_000, "config.json")
    yield case("config.json of closed brackets", "config.json", b'{"model_type":' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested")
    yield case("config.json with wrong UTF-8", "config.json", b'{"model_type": "\xff\xfe"}', "config.json")
    yield case("model_type unknown", "config.json", {**config, "model_type": "mixtral"}, "mixtral", "supported are")
    for key in ("hidden_size", "num_hidden_layers", "intermediate_size", "num_attention_heads"):
        if key not in config:
            continue
        for value in (0, -1, 2**62, 1.5, "64", [64], {"a": 1}, True):
            yield setting(key, value)
    for key in ("num_hidden_layers", "hidden_size"):
        yield case(f"no {key}", "config.json", {k: v for k, v in config.items() if k != key}, key)
    yield case("10,000 layers", "config.json",
               {**{k: v for k, v in config.items() if k != "layer_types"}, "num_hidden_layers": 10_000}, "tensor")
    yield case("a number beyond double", "config.json", files["config.json"].replace(b'"rms_norm_eps": 1e-06', b'"rms_norm_eps": 1e999'),
               "config.json")
    yield setting("rms_norm_eps", 0)
    yield setting("rms_norm_eps", 1e300)
    yield setting("vocab_size", 2**30 + 1)
    yield case("another vocabulary", "config.json", {**config, "vocab_size": 100_000}, "embed_tokens")
    yield setting("max_position_embeddings", 2**40)
    yield setting("eos_token_id" if "generation_config.json" not in files else "head_dim", -5)
    yield setting("quantization_config", {"bits": 4})
    for kind in ("dynamic", "longrope", "mrope"):
        yield case(f"RoPE {kind}", "config.json", {**config, "rope_scaling": {"rope_type": kind, "factor": 2}}, kind)
    yield case("RoPE factor 0", "config.json", {**config, "rope_scaling": {"rope_type": "linear", "factor": 0}}, "factor")
    yield case("RoPE as text", "config.json", {**config, "rope_scaling": "linear"}, "rope_scaling")
    yield case("YaRN beyond float", "config.json",
               {**config, "rope_scaling": {"rope_type": "yarn", "factor": 1e308, "original_max_position_embeddings": 1e308}}, "rope_scaling")
    yield case("generation_config.json broken", "generation_config.json", b"{", "generation_config.json")
    yield case("end token as text", "generation_config.json", {"eos_token_id": "</s>"}, "eos_token_id")
    yield case("end token beyond the vocabulary", "generation_config.json", {"eos_token_id": [1, 2**40]}, "eos_token_id")
    for file in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        whole = files[file]
        for _ in range(2):
            size = rng.randrange(1, len(whole) - 2)
            yield case(f"{file} cut at {size}", file, whole[:size], file)
        for _ in range(4):
            data = bytearray(whole)
            data[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
            yield case(f"a bit flipped in {file}", file, bytes(data))
    tokenizer = json.loads(files["tokenizer.json"])
    yield case("tokenizer.json without a model", "tokenizer.json", {**tokenizer, "model": None}, "tokenizer.json")
    yield case("tokenizer.json of another kind", "tokenizer.json", {**tokenizer, "model": {**tokenizer["model"], "type": "Unigram"}}, "Unigram")
    vocabulary = dict.fromkeys(tokenizer["model"]["vocab"], 7)
    yield case("tokens of one id", "tokenizer.json", {**tokenizer, "model": {**tokenizer["model"], "vocab": vocabulary}})
    vocabulary = {**tokenizer["model"]["vocab"], "far": 2**40}
    yield case("a token id of 2^40", "tokenizer.json", {**tokenizer, "model": {**tokenizer["model"], "vocab": vocabulary}}, "tokenizer.json")
    vocabulary = {**tokenizer["model"]["vocab"], "far": 2_000_000_000}
    yield case("a token id of 2 billion", "tokenizer.json", {**tokenizer, "model": {**tokenizer["model"], "vocab": vocabulary}}, "tokenizer.json")


def folder_weights(name, files, seed):
    rng = random.Random(seed)
    file = "model.safetensors"

    def case(what, content, *words, more=None):
        return Case(f"{name}: {what}", {**files, **(more or {}), file: content}, words or None)

    def edited(what, change, *words):
        weights = Safetensors(files[file])
        change(weights.header)
        return case(what, weights.build(), *words)

    whole = files[file]
    header, = struct.unpack_from("<Q", whole)
    norm, gate = "model.norm.weight", "model.layers.0.mlp.gate_proj.weight"
    yield case("weights empty", b"", file)
    yield case("weights of seven bytes", whole[:7], file)
    for value in (0, 1, 2**64 - 1, 2**63, 100_000_001, len(whole)):
        yield case(f"header of {value} bytes", patch(whole, 0, struct.pack("<Q", value)), file)
    brackets = b"[" * 500_000
    yield case("a header of brackets", struct.pack("<Q", len(brackets)) + brackets, file)
    for _ in range(3):
        size = rng.randrange(8, 8 + header)
        yield case(f"header cut at {size}", whole[:size], file)
        size = rng.randrange(8 + header, len(whole) - 1)
        yield case(f"data cut at {size}", whole[:size], file)
    for _ in range(6):
        data = bytearray(whole)
        data[rng.randrange(8 + header)] ^= 1 << rng.randrange(8)
        yield case("a bit flipped in the header", bytes(data))
    yield edited("a tensor missing", lambda h: h.pop(gate), gate)
    yield edited("another tensor", lambda h: h.update({"model.layers.0.mlp.gate_proj.bias": h[gate]}), "gate_proj.bias")
    yield edited("an unknown format", lambda h: h[gate].update(dtype="F8_E4M3"), gate, "F8_E4M3")
    yield edited("a matrix transposed", lambda h: h[gate].update(shape=h[gate]["shape"][::-1]), gate)
    yield edited("a shape that overflows", lambda h: h[gate].update(shape=[2**40, 2**40]), gate)
    yield edited("a negative size", lambda h: h[gate].update(shape=[-1, -1]), gate)
    yield edited("offsets reversed", lambda h: h[gate].update(data_offsets=h[gate]["data_offsets"][::-1]), gate)
    yield edited("offsets beyond the end", lambda h: h[gate].update(data_offsets=[2**62, 2**62 + 8]), gate)
    yield edited("offsets as text", lambda h: h[gate].update(data_offsets="all"), gate)
    weights = Safetensors(whole)
    for tensor in (norm, gate):
        at, end = weights.header[tensor]["data_offsets"]
        width = {"F32": 4, "BF16": 2, "F16": 2}[weights.header[tensor]["dtype"]]
        nan = b"\xff" * width
        for where in (at, end - width):
            changed = Safetensors(whole)
            changed.data = patch(changed.data, where, nan)
            yield case(f"NaN in {tensor}", changed.build(), tensor)
    moved = {**files, "part.safetensors": whole}
    del moved[file]
    for what, target in (("a missing file", "gone.safetensors"), ("a file outside", "../part.safetensors"), ("no text", 7)):
        index = json.dumps({"weight_map": {norm: target}}).encode()
        yield Case(f"{name}: the index names {what}", {**moved, "model.safetensors.index.json": index}, ("safetensors",))
    del moved["part.safetensors"]
    yield Case(f"{name}: no weights", moved, ("safetensors",))


def read_folder(path):
    return {file.name: file.read_bytes() for file in pathlib.Path(path).iterdir()
            if file.suffix in (".json", ".safetensors") and file.name != "tokenizer_cases.json"}


def cases(random_models, goldens, seed):
    """All damage of one seed. `random_models` are paths of GGUF files without a tokenizer, by family."""
    for family, path in random_models.items():
        whole = pathlib.Path(path).read_bytes()
        yield from gguf_bytes(f"random {family}", whole, seed)
        yield from gguf_metadata(f"random {family}", whole, family)
        yield from gguf_tensors(f"random {family}", whole)
        yield from gguf_parts(f"random {family}", whole)
    goldens = pathlib.Path(goldens)
    for kind in ("f16", "q4_1", "q5_k", "q6_k"):
        whole = (goldens / "gguf-llama" / f"{kind}.gguf").read_bytes()
        yield from gguf_bytes(f"golden {kind}", whole, seed)
        yield from gguf_tensors(f"golden {kind}", whole)
    yield from gguf_tokenizer("golden q6_k", whole)
    for golden in ("llama3-bf16", "gemma3-dual", "qwen2-bias"):
        files = read_folder(goldens / golden)
        yield from folder_json(golden, files, seed)
        yield from folder_weights(golden, files, seed)
