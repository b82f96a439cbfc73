#include "tests/support/reference_decoder.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "kernels/check.h"
#include "kernels/cpu/half.h"

namespace longspan::testing {
namespace {

using Vector = std::vector<double>;

class Reference {
 public:
  Reference(const ModelSource& source, const StoredKv& stored)
      : source_(source), config_(source.config()), stored_(stored) {}

  Vector Logits(int32_t token, int64_t position) {
    const Vector embedding = Load(WeightRole::kEmbedding, 0);
    Vector x(static_cast<size_t>(config_.hidden_size));
    for (size_t i = 0; i < x.size(); ++i) {
      x[i] = embedding[static_cast<size_t>(token) * x.size() + i] * config_.embedding_scale;
    }
    for (int layer = 0; layer < config_.num_layers; ++layer) Layer(layer, position, x);
    const Vector normed = Norm(x, WeightRole::kFinalNorm, 0);
    Vector logits = Product(config_.tied_embedding ? embedding : Load(WeightRole::kOutput, 0), normed);
    for (double& logit : logits) logit = Capped(logit, config_.logit_cap);
    return logits;
  }

 private:
  Vector Load(WeightRole role, int layer) const {
    const WeightView view = source_.Weight(role, layer);
    LONGSPAN_CHECK(view.entry->dtype == DType::kF32);
    Vector values(static_cast<size_t>(view.rows * view.columns));
    const size_t row_size = view.rows == 1 ? 1 : static_cast<size_t>(view.columns);
    for (size_t i = 0; i < values.size(); ++i) {
      const size_t row = i / row_size;
      const size_t file_row = view.row_order.empty() ? row : static_cast<size_t>(view.row_order[row]);
      float value;
      std::memcpy(&value, view.entry->data + 4 * (file_row * row_size + i % row_size), sizeof value);
      values[i] = value;
    }
    return values;
  }

  static double Capped(double x, double cap) { return cap > 0 ? cap * std::tanh(x / cap) : x; }

  static Vector Product(const Vector& matrix, const Vector& x) {
    Vector out(matrix.size() / x.size());
    for (size_t row = 0; row < out.size(); ++row) {
      for (size_t i = 0; i < x.size(); ++i) out[row] += matrix[row * x.size() + i] * x[i];
    }
    return out;
  }

  void NormInPlace(double* x, size_t n, const Vector& weight) const {
    double sum = 0;
    for (size_t i = 0; i < n; ++i) sum += x[i] * x[i];
    const double scale = 1 / std::sqrt(sum / static_cast<double>(n) + config_.norm_epsilon);
    for (size_t i = 0; i < n; ++i) x[i] *= scale * (weight[i] + config_.norm_weight_offset);
  }

  Vector Norm(Vector x, WeightRole role, int layer) const {
    NormInPlace(x.data(), x.size(), Load(role, layer));
    return x;
  }

  // x · weightᵀ, with the bias where the model has one.
  Vector Projection(const Vector& x, WeightRole weight, WeightRole bias, int layer) const {
    Vector out = Product(Load(weight, layer), x);
    if (config_.qkv_bias) Add(out, Load(bias, layer));
    return out;
  }

  void NormAndRotateHeads(Vector& x, WeightRole norm, int layer, int64_t position) const {
    const RopeConfig& rope = Group(layer).rope;
    const size_t d = static_cast<size_t>(config_.head_dim);
    const Vector weight = config_.qk_norm ? Load(norm, layer) : Vector();
    for (double* head = x.data(); head < x.data() + x.size(); head += d) {
      if (config_.qk_norm) NormInPlace(head, d, weight);
      for (size_t i = 0; i < d / 2; ++i) {
        const double divisor = rope.frequency_divisors.empty() ? 1 : rope.frequency_divisors[i];
        const double angle = static_cast<double>(position) *
                             std::pow(rope.base, -2.0 * static_cast<double>(i) / static_cast<double>(d)) /
                             divisor;
        const double a = rope.magnitude * head[i], b = rope.magnitude * head[i + d / 2];
        head[i] = a * std::cos(angle) - b * std::sin(angle);
        head[i + d / 2] = b * std::cos(angle) + a * std::sin(angle);
      }
    }
  }

  const LayerGroupConfig& Group(int layer) const {
    return config_.groups[static_cast<size_t>(config_.layer_group[static_cast<size_t>(layer)])];
  }

  // Softmax over all visible positions in two passes, each sum in float64.
  void AttendHead(int layer, int64_t position, int kv_head, const double* query, const double* own_key,
                  const double* own_value, double* out) const {
    const size_t d = static_cast<size_t>(config_.head_dim);
    const int64_t window = Group(layer).window;
    const int64_t first = window > 0 ? std::max<int64_t>(0, position - window + 1) : 0;
    std::vector<float> stored(d);
    Vector scores;
    const auto dot = [&](const auto* key) {
      double sum = 0;
      for (size_t i = 0; i < d; ++i) sum += query[i] * static_cast<double>(key[i]);
      return Capped(sum * config_.query_scale, config_.score_cap);
    };
    for (int64_t p = first; p < position; ++p) {
      stored_(p, layer, kv_head, 0, stored.data());
      scores.push_back(dot(stored.data()));
    }
    scores.push_back(dot(own_key));
    const double largest = *std::max_element(scores.begin(), scores.end());
    double sum = 0;
    std::fill_n(out, d, 0.0);
    for (size_t j = 0; j < scores.size(); ++j) {
      const double weight = std::exp(scores[j] - largest);
      sum += weight;
      const bool own = j + 1 == scores.size();
      if (!own) stored_(first + static_cast<int64_t>(j), layer, kv_head, 1, stored.data());
      for (size_t i = 0; i < d; ++i) out[i] += weight * (own ? own_value[i] : static_cast<double>(stored[i]));
    }
    for (size_t i = 0; i < d; ++i) out[i] /= sum;
  }

  static void RoundToBf16(Vector& x) {
    for (double& v : x) v = Bf16ToF32(F32ToBf16(static_cast<float>(v)));
  }

  void Layer(int layer, int64_t position, Vector& x) const {
    const size_t d = static_cast<size_t>(config_.head_dim);
    Vector h = Norm(x, WeightRole::kAttentionNorm, layer);
    Vector q = Projection(h, WeightRole::kQuery, WeightRole::kQueryBias, layer);
    Vector k = Projection(h, WeightRole::kKey, WeightRole::kKeyBias, layer);
    Vector v = Projection(h, WeightRole::kValue, WeightRole::kValueBias, layer);
    NormAndRotateHeads(q, WeightRole::kQueryNorm, layer, position);
    NormAndRotateHeads(k, WeightRole::kKeyNorm, layer, position);
    RoundToBf16(k);
    RoundToBf16(v);
    Vector attended(q.size());
    const int group = config_.num_heads / config_.num_kv_heads;
    for (int head = 0; head < config_.num_heads; ++head) {
      const size_t kv = static_cast<size_t>(head / group) * d, at = static_cast<size_t>(head) * d;
      AttendHead(layer, position, head / group, &q[at], &k[kv], &v[kv], &attended[at]);
    }
    AddBlock(x, Product(Load(WeightRole::kAttentionOutput, layer), attended), WeightRole::kPostAttentionNorm,
             layer);
    h = Norm(x, WeightRole::kFfnNorm, layer);
    Vector gate = Product(Load(WeightRole::kGate, layer), h);
    const Vector up = Product(Load(WeightRole::kUp, layer), h);
    for (size_t i = 0; i < gate.size(); ++i) {
      gate[i] = Activated(gate[i]) * up[i];
    }
    AddBlock(x, Product(Load(WeightRole::kDown, layer), gate), WeightRole::kPostFfnNorm, layer);
  }

  double Activated(double g) const {
    if (config_.activation == ActivationKind::kSilu) return g / (1 + std::exp(-g));
    return 0.5 * g * (1 + std::tanh(0.7978845608028654 * (g + 0.044715 * g * g * g)));
  }

  // What a block adds to the residual stream.
  void AddBlock(Vector& x, Vector update, WeightRole post_norm, int layer) const {
    Add(x, config_.post_norms ? Norm(std::move(update), post_norm, layer) : update);
  }

  static void Add(Vector& x, const Vector& update) {
    for (size_t i = 0; i < x.size(); ++i) x[i] += update[i];
  }

  const ModelSource& source_;
  const ModelConfig& config_;
  const StoredKv& stored_;
};

}  // namespace

std::vector<double> ReferenceLogits(const ModelSource& source, int32_t token, int64_t position,
                                    const StoredKv& stored) {
  return Reference(source, stored).Logits(token, position);
}

}  // namespace longspan::testing
