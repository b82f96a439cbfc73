#include "tests/group/folder_to_gguf.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

#include "kernels/cpu/half.h"
#include "runtime/model/json_file.h"
#include "runtime/model/safetensors.h"

namespace longspan::testing {
namespace {

using nlohmann::json;

template <typename T>
T OrDie(absl::StatusOr<T> value) {
  if (!value.ok()) {
    std::fprintf(stderr, "%s\n", value.status().ToString().c_str());
    std::abort();
  }
  return *std::move(value);
}

// "model.layers.3.mlp.up_proj.weight" → "blk.3.ffn_up.weight"
std::string GgufName(const std::string& name, bool post_norms) {
  static const std::map<std::string, std::string> kParts = {
      {"input_layernorm", "attn_norm"},
      {"self_attn.q_proj", "attn_q"},
      {"self_attn.k_proj", "attn_k"},
      {"self_attn.v_proj", "attn_v"},
      {"self_attn.q_norm", "attn_q_norm"},
      {"self_attn.k_norm", "attn_k_norm"},
      {"self_attn.o_proj", "attn_output"},
      {"pre_feedforward_layernorm", "ffn_norm"},
      {"post_feedforward_layernorm", "post_ffw_norm"},
      {"mlp.gate_proj", "ffn_gate"},
      {"mlp.up_proj", "ffn_up"},
      {"mlp.down_proj", "ffn_down"},
  };
  if (name == "model.embed_tokens.weight") return "token_embd.weight";
  if (name == "model.norm.weight") return "output_norm.weight";
  if (name == "lm_head.weight") return "output.weight";
  const size_t number = std::string("model.layers.").size(), dot = name.find('.', number);
  const size_t ending = name.rfind('.');
  const std::string part = name.substr(dot + 1, ending - dot - 1);
  const std::string translated = part == "post_attention_layernorm"
                                     ? (post_norms ? "post_attention_norm" : "ffn_norm")
                                     : kParts.at(part);
  return "blk." + name.substr(number, dot - number) + "." + translated + name.substr(ending);
}

std::vector<std::byte> AsF32(const TensorEntry& tensor, float offset) {
  const size_t count = static_cast<size_t>(tensor.shape[0]);
  std::vector<std::byte> bytes(count * sizeof(float));
  for (size_t i = 0; i < count; ++i) {
    float value = 0;
    if (tensor.dtype == DType::kF32) {
      std::memcpy(&value, tensor.data + i * sizeof(float), sizeof(float));
    } else {
      uint16_t half = 0;
      std::memcpy(&half, tensor.data + i * sizeof(half), sizeof(half));
      value = Bf16ToF32(half);
    }
    value += offset;
    std::memcpy(&bytes[i * sizeof(float)], &value, sizeof(float));
  }
  return bytes;
}

// Rows of `row_bytes` in the converter's order.
std::vector<std::byte> Interleaved(const std::vector<std::byte>& bytes, size_t row_bytes, size_t head_dim) {
  std::vector<std::byte> out(bytes.size());
  for (size_t row = 0; row < bytes.size() / row_bytes; ++row) {
    const size_t head = row / head_dim, i = row % head_dim, half = head_dim / 2;
    const size_t to = head * head_dim + (i < half ? 2 * i : 2 * (i - half) + 1);
    std::memcpy(&out[to * row_bytes], &bytes[row * row_bytes], row_bytes);
  }
  return out;
}

void AddShape(const json& config, const std::string& prefix, GgufWriter& writer) {
  const auto add = [&](const char* key, const char* setting) {
    writer.AddUint32(prefix + key, config.at(setting).get<uint32_t>());
  };
  add("block_count", "num_hidden_layers");
  add("context_length", "max_position_embeddings");
  add("embedding_length", "hidden_size");
  add("feed_forward_length", "intermediate_size");
  add("attention.head_count", "num_attention_heads");
  add("attention.head_count_kv", "num_key_value_heads");
  add("attention.key_length", "head_dim");
  add("attention.value_length", "head_dim");
  writer.AddFloat32(prefix + "attention.layer_norm_rms_epsilon", config.at("rms_norm_eps").get<float>());
  const json& rope = config.contains("rope_parameters") ? config["rope_parameters"] : config;
  writer.AddFloat32(prefix + "rope.freq_base", rope.at("rope_theta").get<float>());
  writer.AddUint32("tokenizer.ggml.eos_token_id", config.at("eos_token_id").get<uint32_t>());
}

}  // namespace

void WriteFolderAsGguf(const std::string& folder, const GgufConventions& conventions,
                       const std::string& path) {
  const json config = OrDie(ReadJsonObject(folder + "/config.json"));
  const SafetensorsFolder weights = OrDie(OpenSafetensorsFolder(folder));
  const size_t head_dim = config.at("head_dim").get<size_t>();
  bool post_norms = false;
  for (const TensorEntry& tensor : weights.tensors) {
    post_norms = post_norms || tensor.name.find("post_feedforward_layernorm") != std::string::npos;
  }

  GgufWriter writer;
  writer.AddString("general.architecture", conventions.architecture);
  AddShape(config, conventions.architecture + ".", writer);
  if (conventions.add_settings) conventions.add_settings(writer);
  std::vector<std::vector<std::byte>> contents;
  for (const TensorEntry& tensor : weights.tensors) {
    const std::string name = GgufName(tensor.name, post_norms);
    const bool vector = tensor.shape.size() == 1, norm = name.ends_with("norm.weight");
    std::vector<std::byte> bytes = vector ? AsF32(tensor, norm ? conventions.norm_offset : 0.0f)
                                          : std::vector<std::byte>(tensor.data, tensor.data + tensor.bytes);
    const bool rotated =
        name.find("attn_q.") != std::string::npos || name.find("attn_k.") != std::string::npos;
    if (conventions.interleaved_heads && rotated) {
      bytes = Interleaved(bytes, bytes.size() / static_cast<size_t>(tensor.shape[0]), head_dim);
    }
    writer.AddTensor(name, vector ? DType::kF32 : tensor.dtype, tensor.shape);
    contents.push_back(std::move(bytes));
  }
  std::vector<size_t> done(contents.size());
  const absl::Status status = writer.Write(path, [&](size_t tensor, std::span<std::byte> out) {
    std::memcpy(out.data(), &contents[tensor][done[tensor]], out.size());
    done[tensor] += out.size();
  });
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.ToString().c_str());
    std::abort();
  }
}

}  // namespace longspan::testing
