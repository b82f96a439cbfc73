#include "tests/tools/random_model.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <span>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/tools/gguf_writer.h"

namespace longspan {
namespace {

// SplitMix64 (Steele, Lea, Flood 2014): one multiply-xor chain for 64 bits.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  // From 0 up to, not including, `bound`, which is small.
  int Below(int bound) { return static_cast<int>((Next() >> 32) * static_cast<uint64_t>(bound) >> 32); }
  float Uniform(float low, float high) {
    return low + (high - low) * static_cast<float>(Next() >> 40) * 0x1p-24f;
  }
  void Fill(std::span<std::byte> out) {
    while (!out.empty()) {
      const uint64_t bits = Next();
      const size_t count = std::min(out.size(), sizeof(bits));
      std::memcpy(out.data(), &bits, count);
      out = out.subspan(count);
    }
  }

 private:
  uint64_t state_;
};

uint16_t ToBf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// Finite values below 65,504 only; ties go to even.
uint16_t ToF16(float value) {
  int exponent = 0;
  std::frexp(value, &exponent);
  const int shift = 11 - std::max(exponent, -13);  // so that the significand is an integer of 11 bits
  const int significand = static_cast<int>(std::nearbyint(std::ldexp(std::fabs(value), shift)));
  const int biased = std::max(exponent, -13) + 13;
  // A subnormal has no implied leading bit; adding the significand lets a carry reach the exponent.
  const int magnitude = biased * 1024 + significand;
  return static_cast<uint16_t>(magnitude | (std::signbit(value) ? 0x8000 : 0));
}

template <typename T>
void Store(std::byte* out, T value) {
  std::memcpy(out, &value, sizeof(value));
}

// Standard deviations of integers drawn evenly from 256, 64, 32 and 16 consecutive ones.
constexpr float kDeviation8Bits = 73.9f;
constexpr float kDeviation6Bits = 18.47f;
constexpr float kDeviation5Bits = 9.23f;
constexpr float kDeviation4Bits = 4.61f;

// d (F16), 32 values of 8 bits.
void FillQ8_0(Random& random, float deviation, std::span<std::byte> block) {
  Store(block.data(), ToF16(deviation / kDeviation8Bits * random.Uniform(0.75f, 1.25f)));
  random.Fill(block.subspan(2));
  // Quantisers keep to -127 .. 127.
  for (std::byte& value : block.subspan(2)) value = value == std::byte{0x80} ? std::byte{0x81} : value;
}

// d (F16), 32 values of 4 bits.
void FillQ4_0(Random& random, float deviation, std::span<std::byte> block) {
  Store(block.data(), ToF16(deviation / kDeviation4Bits * random.Uniform(0.75f, 1.25f)));
  random.Fill(block.subspan(2));
}

// d (F16), the fifth bits, the low four bits.
void FillQ5_0(Random& random, float deviation, std::span<std::byte> block) {
  Store(block.data(), ToF16(deviation / kDeviation5Bits * random.Uniform(0.75f, 1.25f)));
  random.Fill(block.subspan(2));
}

// The head of Q4_K and Q5_K: d, dmin (F16), eight scales and eight minima of six bits; values are d·scale·q −
// dmin·minimum.
void FillSuperBlockHead(Random& random, float d, float mean_value, std::span<std::byte> block) {
  Store(block.data(), ToF16(d));
  Store(block.data() + 2, ToF16(d * mean_value));
  int scales[8];
  int minima[8];
  for (int i = 0; i < 8; ++i) {
    scales[i] = 40 + random.Below(21);
    minima[i] = scales[i] - 2 + random.Below(5);
  }
  std::byte* packed = block.data() + 4;
  for (int i = 0; i < 4; ++i) {
    packed[i] = static_cast<std::byte>(scales[i] | (scales[i + 4] >> 4) << 6);
    packed[i + 4] = static_cast<std::byte>(minima[i] | (minima[i + 4] >> 4) << 6);
    packed[i + 8] = static_cast<std::byte>((scales[i + 4] & 15) | (minima[i + 4] & 15) << 4);
  }
}
constexpr float kMeanSuperScale = 50.0f;

// The head, 256 values of four bits.
void FillQ4_K(Random& random, float deviation, std::span<std::byte> block) {
  FillSuperBlockHead(random, deviation / (kDeviation4Bits * kMeanSuperScale), 7.5f, block);
  random.Fill(block.subspan(16));
}

// The head, 256 fifth bits, 256 values of four bits.
void FillQ5_K(Random& random, float deviation, std::span<std::byte> block) {
  FillSuperBlockHead(random, deviation / (kDeviation5Bits * kMeanSuperScale), 15.5f, block);
  random.Fill(block.subspan(16));
}

// The low four bits, the high two, sixteen scales of eight bits, d (F16).
void FillQ6_K(Random& random, float deviation, std::span<std::byte> block) {
  constexpr float kMeanScale = 96.0f;
  random.Fill(block.first(192));
  for (size_t i = 0; i < 16; ++i) {
    const int scale = 64 + random.Below(64);
    block[192 + i] = static_cast<std::byte>(random.Below(2) == 0 ? scale : -scale);
  }
  Store(block.data() + 208, ToF16(deviation / (kDeviation6Bits * kMeanScale)));
}

// Plain elements are drawn from a table, which is several times faster than computing each.
template <typename T, typename Convert>
void FillPlain(Random& random, float mean, float deviation, std::span<std::byte> out, Convert convert) {
  static constexpr int kTableSize = 4096;
  std::array<T, kTableSize> table;
  for (int i = 0; i < kTableSize; ++i) {
    const float unit = (static_cast<float>(i) + 0.5f) * (2.0f / kTableSize) - 1.0f;
    table[static_cast<size_t>(i)] = convert(mean + deviation * std::sqrt(3.0f) * unit);
  }
  while (!out.empty()) {
    uint64_t bits = random.Next();
    for (int i = 0; i < 5 && !out.empty(); ++i, bits >>= 12) {
      Store(out.data(), table[bits % kTableSize]);
      out = out.subspan(sizeof(T));
    }
  }
}

void FillTensor(Random& random, DType dtype, float mean, float deviation, std::span<std::byte> out) {
  using FillBlock = void (*)(Random&, float, std::span<std::byte>);
  FillBlock fill_block = nullptr;
  switch (dtype) {
    case DType::kF32:
      return FillPlain<float>(random, mean, deviation, out, [](float value) { return value; });
    case DType::kF16:
      return FillPlain<uint16_t>(random, mean, deviation, out, ToF16);
    case DType::kBF16:
      return FillPlain<uint16_t>(random, mean, deviation, out, ToBf16);
    case DType::kQ8_0:
      fill_block = FillQ8_0;
      break;
    case DType::kQ4_0:
      fill_block = FillQ4_0;
      break;
    case DType::kQ5_0:
      fill_block = FillQ5_0;
      break;
    case DType::kQ4_K:
      fill_block = FillQ4_K;
      break;
    case DType::kQ5_K:
      fill_block = FillQ5_K;
      break;
    case DType::kQ6_K:
      fill_block = FillQ6_K;
      break;
    default:
      return;
  }
  const size_t block_bytes = static_cast<size_t>(Traits(dtype).block_bytes);
  for (; !out.empty(); out = out.subspan(block_bytes)) fill_block(random, deviation, out.first(block_bytes));
}

struct Matrix {
  std::string name;
  int64_t rows;
  int64_t columns;
};

std::vector<Matrix> LayerMatrices(const RandomModelSpec& spec) {
  const int64_t query = int64_t{spec.heads} * spec.head_dim;
  const int64_t kv = int64_t{spec.kv_heads} * spec.head_dim;
  return {{"attn_q", query, spec.hidden},      {"attn_k", kv, spec.hidden},
          {"attn_v", kv, spec.hidden},         {"attn_output", spec.hidden, query},
          {"ffn_gate", spec.ffn, spec.hidden}, {"ffn_up", spec.ffn, spec.hidden},
          {"ffn_down", spec.hidden, spec.ffn}};
}

struct FamilyParts {
  const char* name;
  bool qkv_bias, qk_norm, post_norms, window, score_cap, tied;
};
constexpr FamilyParts kFamilies[] = {
    {"llama", false, false, false, false, false, false}, {"qwen2", true, false, false, false, false, false},
    {"qwen3", false, true, false, false, false, false},  {"gemma2", false, false, true, true, true, true},
    {"gemma3", false, true, true, true, false, true},
};

void AddMetadata(const RandomModelSpec& spec, const FamilyParts& family, GgufWriter* writer) {
  const std::string prefix = absl::StrCat(spec.family, ".");
  writer->AddString("general.architecture", spec.family);
  writer->AddString("general.name", absl::StrCat("random-", spec.family));
  writer->AddString("tokenizer.ggml.model", "no_vocab");
  writer->AddUint32(prefix + "vocab_size", static_cast<uint32_t>(spec.vocab));
  writer->AddUint32(prefix + "block_count", static_cast<uint32_t>(spec.layers));
  writer->AddUint32(prefix + "context_length", static_cast<uint32_t>(spec.context));
  writer->AddUint32(prefix + "embedding_length", static_cast<uint32_t>(spec.hidden));
  writer->AddUint32(prefix + "feed_forward_length", static_cast<uint32_t>(spec.ffn));
  writer->AddUint32(prefix + "attention.head_count", static_cast<uint32_t>(spec.heads));
  writer->AddUint32(prefix + "attention.head_count_kv", static_cast<uint32_t>(spec.kv_heads));
  writer->AddUint32(prefix + "attention.key_length", static_cast<uint32_t>(spec.head_dim));
  writer->AddUint32(prefix + "attention.value_length", static_cast<uint32_t>(spec.head_dim));
  writer->AddFloat32(prefix + "attention.layer_norm_rms_epsilon", family.post_norms ? 1e-6f : 1e-5f);
  writer->AddFloat32(prefix + "rope.freq_base", family.post_norms ? 1e6f : 5e5f);
  if (family.score_cap) {
    // Near the scores and logits that random weights give, so that they count.
    writer->AddFloat32(prefix + "attn_logit_softcapping", 2.0f);
    writer->AddFloat32(prefix + "final_logit_softcapping", 3.0f);
  }
  if (family.window) {
    writer->AddUint32(prefix + "attention.sliding_window", static_cast<uint32_t>(spec.window));
    writer->AddUint32(prefix + "attention.sliding_window_pattern", static_cast<uint32_t>(spec.pattern));
  }
}

// Adds tensors and remembers what each is filled with.
class TensorList {
 public:
  TensorList(const RandomModelSpec& spec, GgufWriter* writer) : spec_(spec), writer_(writer) {}

  void AddMatrix(const std::string& name, int64_t rows, int64_t columns) {
    const DType dtype = columns % Traits(spec_.format).block_elements == 0 ? spec_.format : DType::kF16;
    Add(name, dtype, {rows, columns}, 0.0f, 1.0f / std::sqrt(static_cast<float>(columns)));
  }
  void AddBias(const std::string& name, int64_t size) { Add(name, DType::kF32, {size}, 0.0f, 0.5f); }
  void AddNorm(const std::string& name, int64_t size) { Add(name, DType::kF32, {size}, 1.0f, 0.1f); }

  void Fill(size_t tensor, std::span<std::byte> out) {
    Content& content = contents_[tensor];
    FillTensor(content.random, content.dtype, content.mean, content.deviation, out);
  }

 private:
  struct Content {
    DType dtype;
    float mean;
    float deviation;
    Random random;
  };

  void Add(const std::string& name, DType dtype, std::vector<int64_t> shape, float mean, float deviation) {
    writer_->AddTensor(name, dtype, shape);
    const uint64_t stream = spec_.seed * 0x9e3779b97f4a7c15 + contents_.size();
    contents_.push_back({dtype, mean, deviation, Random(Random(stream).Next())});
  }

  const RandomModelSpec& spec_;
  GgufWriter* writer_;
  std::vector<Content> contents_;
};

}  // namespace

void FillRandomMatrix(DType dtype, int64_t columns, uint64_t seed, std::span<std::byte> out) {
  Random random(seed);
  FillTensor(random, dtype, 0.0f, 1.0f / std::sqrt(static_cast<float>(columns)), out);
}

absl::Status WriteRandomModel(const RandomModelSpec& spec, const std::string& path) {
  const auto* family = std::find_if(std::begin(kFamilies), std::end(kFamilies),
                                    [&](const FamilyParts& parts) { return parts.name == spec.family; });
  if (family == std::end(kFamilies)) {
    return absl::InvalidArgumentError(
        absl::StrCat("family ", spec.family, " is none of llama, qwen2, qwen3, gemma2 and gemma3"));
  }
  GgufWriter writer;
  AddMetadata(spec, *family, &writer);
  TensorList tensors(spec, &writer);
  tensors.AddMatrix("token_embd.weight", spec.vocab, spec.hidden);
  tensors.AddNorm("output_norm.weight", spec.hidden);
  if (!family->tied && !spec.tied) tensors.AddMatrix("output.weight", spec.vocab, spec.hidden);
  for (int layer = 0; layer < spec.layers; ++layer) {
    const std::string prefix = absl::StrCat("blk.", layer, ".");
    for (const Matrix& matrix : LayerMatrices(spec)) {
      tensors.AddMatrix(absl::StrCat(prefix, matrix.name, ".weight"), matrix.rows, matrix.columns);
    }
    if (family->qkv_bias) {
      tensors.AddBias(prefix + "attn_q.bias", int64_t{spec.heads} * spec.head_dim);
      tensors.AddBias(prefix + "attn_k.bias", int64_t{spec.kv_heads} * spec.head_dim);
      tensors.AddBias(prefix + "attn_v.bias", int64_t{spec.kv_heads} * spec.head_dim);
    }
    tensors.AddNorm(prefix + "attn_norm.weight", spec.hidden);
    tensors.AddNorm(prefix + "ffn_norm.weight", spec.hidden);
    if (family->qk_norm) {
      tensors.AddNorm(prefix + "attn_q_norm.weight", spec.head_dim);
      tensors.AddNorm(prefix + "attn_k_norm.weight", spec.head_dim);
    }
    if (!family->post_norms) continue;
    tensors.AddNorm(prefix + "post_attention_norm.weight", spec.hidden);
    tensors.AddNorm(prefix + "post_ffw_norm.weight", spec.hidden);
  }
  return writer.Write(path, [&](size_t tensor, std::span<std::byte> out) { tensors.Fill(tensor, out); });
}

}  // namespace longspan
