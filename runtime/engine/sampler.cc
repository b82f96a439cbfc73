#include "runtime/engine/sampler.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "runtime/engine/philox.h"

namespace longspan {
namespace {

constexpr uint64_t kOne = uint64_t{1} << 44;  // the weight of the most probable token

struct Largest {
  float value;
  bool any_nan;
};

// Lanes side by side, so that the compiler can use vectors.
Largest LargestOf(std::span<const float> logits) {
  constexpr size_t kLanes = 16;
  std::array<float, kLanes> largest;
  std::array<int32_t, kLanes> nan{};
  largest.fill(-std::numeric_limits<float>::infinity());
  const auto look = [&](size_t lane, float logit) {
    largest[lane] = logit > largest[lane] ? logit : largest[lane];
    nan[lane] |= logit != logit ? 1 : 0;
  };
  size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) look(lane, logits[i + lane]);
  }
  for (; i < logits.size(); ++i) look(0, logits[i]);
  return {*std::max_element(largest.begin(), largest.end()),
          std::find(nan.begin(), nan.end(), 1) != nan.end()};
}

struct FirstLargest {
  float value;
  bool any_nan;
  std::span<const float> part;  // of the logits, has the first one that is as large
};

FirstLargest FindLargest(std::span<const float> logits) {
  constexpr size_t kPart = 4096;
  FirstLargest first{-std::numeric_limits<float>::infinity(), false, logits.first(0)};
  for (size_t i = 0; i < logits.size(); i += kPart) {
    const std::span<const float> part = logits.subspan(i, std::min(kPart, logits.size() - i));
    const Largest largest = LargestOf(part);
    first.any_nan = first.any_nan || largest.any_nan;
    if (largest.value > first.value) {
      first.value = largest.value;
      first.part = part;
    }
  }
  return first;
}

// exp(x) in units of 2^-44, rounded to nearest, for x <= 0. exp(x) = 2^n * exp(r) with |r| <= ln(2) / 2 and
// the Taylor polynomial of degree 12 for exp(r), whose remainder is about the rounding of a double. Numbers
// become integers by adding a large power of two and looking at the bits, which vectors can do as well.
inline uint64_t FixedPointExp(double x) {
  constexpr double kLog2E = 1.4426950408889634074;
  constexpr double kLn2High = 0x1.62e42fee00000p-1;  // short, so that n * kLn2High is exact
  constexpr double kLn2Low = 0x1.a39ef35793c76p-33;
  constexpr double kRoundSigned = 0x1.8p52;
  constexpr double kRoundUnsigned = 0x1p52;
  constexpr double kLeast = -40;  // exp(-40) rounds to zero
  constexpr std::array<double, 13> kInverseFactorials = [] {
    std::array<double, 13> inverse{};
    double factorial = 1;
    for (size_t i = 0; i < inverse.size(); ++i) {
      inverse[i] = 1 / factorial;
      factorial *= static_cast<double>(i + 1);
    }
    return inverse;
  }();
  x = x > kLeast ? x : kLeast;
  const double shifted = x * kLog2E + kRoundSigned;  // its low bits are n
  const double n = shifted - kRoundSigned;
  const double r = (x - n * kLn2High) - n * kLn2Low;
  double sum = kInverseFactorials[12];
  sum = sum * r + kInverseFactorials[11];
  sum = sum * r + kInverseFactorials[10];
  sum = sum * r + kInverseFactorials[9];
  sum = sum * r + kInverseFactorials[8];
  sum = sum * r + kInverseFactorials[7];
  sum = sum * r + kInverseFactorials[6];
  sum = sum * r + kInverseFactorials[5];
  sum = sum * r + kInverseFactorials[4];
  sum = sum * r + kInverseFactorials[3];
  sum = sum * r + kInverseFactorials[2];
  sum = sum * r + kInverseFactorials[1];
  sum = sum * r + kInverseFactorials[0];
  const uint64_t exponent = (std::bit_cast<uint64_t>(shifted) + 1023 + 44) << 52;
  const double scaled = sum * std::bit_cast<double>(exponent);
  return std::bit_cast<uint64_t>(scaled + kRoundUnsigned) - std::bit_cast<uint64_t>(kRoundUnsigned);
}

// Orders tokens by logit, then by lower id: a larger number ranks higher, and no two are equal.
uint64_t Ranking(float logit, size_t token) {
  const auto bits = std::bit_cast<uint32_t>(logit + 0.0f);  // makes -0 and 0 equal
  const uint32_t ordered = (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
  return uint64_t{ordered} << 32 | ~static_cast<uint32_t>(token);
}

size_t TokenOf(uint64_t ranking) { return ~static_cast<uint32_t>(ranking); }

absl::Status CheckRange(const char* name, double value, double least, double most) {
  if (value >= least && value <= most) return absl::OkStatus();
  const std::string range = std::isinf(most) ? absl::StrCat("a number, at least ", least)
                                             : absl::StrCat("a number from ", least, " to ", most);
  return absl::InvalidArgumentError(absl::StrCat(name, " is ", value, "; it must be ", range));
}

}  // namespace

absl::Status ValidateSampling(const SamplingParams& params, int64_t vocab_size) {
  constexpr double kMost = std::numeric_limits<float>::max();
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  absl::Status status;
  status.Update(CheckRange("temperature", params.temperature, 0, kMost));
  status.Update(CheckRange("top_k", static_cast<double>(params.top_k), 0, kInfinity));
  status.Update(CheckRange("top_p", params.top_p, 0, 1));
  status.Update(CheckRange("min_p", params.min_p, 0, 1));
  status.Update(CheckRange("repetition_penalty", params.repetition_penalty, 0.01, 100));
  status.Update(CheckRange("presence_penalty", params.presence_penalty, -1000, 1000));
  status.Update(CheckRange("frequency_penalty", params.frequency_penalty, -1000, 1000));
  for (const auto& [token, bias] : params.logit_bias) {
    if (token < 0 || token >= vocab_size) {
      status.Update(absl::InvalidArgumentError(absl::StrCat(
          "logit_bias names token ", token, "; the vocabulary has tokens 0 to ", vocab_size - 1)));
    }
    status.Update(CheckRange("a value of logit_bias", bias, -1000, 1000));
  }
  return status;
}

uint64_t DeriveSeed(uint64_t engine_seed, RequestId id) {
  return PhiloxBits(engine_seed, static_cast<uint64_t>(id), RandomStream::kSeeds);
}

bool UsesTokenCounts(const SamplingParams& params) {
  return params.repetition_penalty != 1 || params.presence_penalty != 0 || params.frequency_penalty != 0;
}

Sampler::Sampler(int64_t vocab_size) {
  LONGSPAN_CHECK(vocab_size >= 1 && vocab_size <= kMaxVocabSize);
  adjusted_.resize(static_cast<size_t>(vocab_size));
  weights_.resize(static_cast<size_t>(vocab_size));
  rankings_.reserve(static_cast<size_t>(vocab_size));
}

absl::StatusOr<int32_t> Sampler::Sample(std::span<const float> logits, const SamplingParams& params,
                                        uint64_t seed, int64_t position, const TokenCounts& counts,
                                        std::span<const uint64_t> allowed) {
  LONGSPAN_CHECK(logits.size() == adjusted_.size());
  LONGSPAN_CHECK(allowed.empty() || allowed.size() == (logits.size() + 63) / 64);
  logits = Adjust(logits, params, counts, allowed);
  const FirstLargest largest = FindLargest(logits);
  if (largest.any_nan || std::isinf(largest.value)) {
    return absl::InternalError(absl::StrCat("the logits of position ", position, " have ",
                                            largest.any_nan     ? "a NaN"
                                            : largest.value > 0 ? "an infinite value"
                                                                : "no finite value",
                                            ": check the model file, or use a wider activation type"));
  }
  if (params.temperature == 0) {
    const auto within = std::find(largest.part.begin(), largest.part.end(), largest.value);
    return static_cast<int32_t>(&*within - logits.data());
  }
  if (params.top_k > 0 && params.top_k < static_cast<int64_t>(logits.size())) {
    SetTopKWeights(logits, largest.value, params.temperature, params.top_k);
  } else {
    SetWeights(logits, largest.value, params.temperature);
  }
  if (params.top_p < 1) KeepTopP(logits, params.top_p);
  if (params.min_p > 0) KeepMinP(params.min_p);
  return Draw(PhiloxBits(seed, static_cast<uint64_t>(position), RandomStream::kTokens));
}

std::span<const float> Sampler::Adjust(std::span<const float> logits, const SamplingParams& params,
                                       const TokenCounts& counts, std::span<const uint64_t> allowed) {
  if (allowed.empty() && params.logit_bias.empty() && !UsesTokenCounts(params)) return logits;
  std::copy(logits.begin(), logits.end(), adjusted_.begin());
  for (size_t word = 0; word < allowed.size(); ++word) {
    for (uint64_t masked = ~allowed[word]; masked != 0; masked &= masked - 1) {
      const size_t token = word * 64 + static_cast<size_t>(std::countr_zero(masked));
      if (token >= logits.size()) break;
      // A NaN shows that the model is broken, wherever it is.
      if (logits[token] == logits[token]) adjusted_[token] = -std::numeric_limits<float>::infinity();
    }
  }
  for (const auto& [token, bias] : params.logit_bias) adjusted_[static_cast<size_t>(token)] += bias;
  if (UsesTokenCounts(params)) {
    for (const auto& [token, output_count] : counts.output_counts()) {
      float& logit = adjusted_[static_cast<size_t>(token)];
      double value = logit;
      value = value > 0 ? value / params.repetition_penalty : value * params.repetition_penalty;
      if (output_count > 0) {
        value -= params.presence_penalty + params.frequency_penalty * static_cast<double>(output_count);
      }
      logit = static_cast<float>(value);
    }
  }
  return adjusted_;
}

void Sampler::SetWeights(std::span<const float> logits, float largest, double temperature) {
  // A fixed number at a time, so that the compiler can use vectors.
  constexpr size_t kLanes = 8;
  const auto set = [&](size_t i) {
    weights_[i] = FixedPointExp((double{logits[i]} - double{largest}) / temperature);
  };
  size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) set(i + lane);
  }
  for (; i < logits.size(); ++i) set(i);
}

void Sampler::SetTopKWeights(std::span<const float> logits, float largest, double temperature,
                             int64_t top_k) {
  rankings_.clear();
  for (size_t i = 0; i < logits.size(); ++i) rankings_.push_back(Ranking(logits[i], i));
  const auto end = rankings_.begin() + top_k;
  std::nth_element(rankings_.begin(), end, rankings_.end(), std::greater<>());
  std::fill(weights_.begin(), weights_.end(), 0);
  std::for_each(rankings_.begin(), end, [&](uint64_t ranking) {
    const size_t token = TokenOf(ranking);
    weights_[token] = FixedPointExp((double{logits[token]} - double{largest}) / temperature);
  });
}

void Sampler::KeepTopP(std::span<const float> logits, double top_p) {
  const uint64_t total = std::accumulate(weights_.begin(), weights_.end(), uint64_t{0});
  const auto exact_target = static_cast<uint64_t>(std::ceil(static_cast<double>(total) * top_p));
  const uint64_t target = std::clamp<uint64_t>(exact_target, 1, total);
  // Tokens that together cannot have more than what may be left out need not be looked at. They are nearly
  // all.
  const uint64_t negligible = (total - target) / logits.size();
  rankings_.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    if (weights_[i] > negligible) {
      rankings_.push_back(Ranking(logits[i], i));
    } else {
      weights_[i] = 0;
    }
  }
  // Halves the range in which the last token to keep lies. `kept` is the mass before the range.
  auto begin = rankings_.begin();
  auto end = rankings_.end();
  uint64_t kept = 0;
  while (end - begin > 1) {
    const auto middle = begin + (end - begin) / 2;
    std::nth_element(begin, middle, end, std::greater<>());
    uint64_t mass = 0;
    std::for_each(begin, middle, [&](uint64_t ranking) { mass += weights_[TokenOf(ranking)]; });
    if (kept + mass >= target) {
      end = middle;
    } else {
      kept += mass;
      begin = middle;
    }
  }
  std::for_each(end, rankings_.end(), [&](uint64_t ranking) { weights_[TokenOf(ranking)] = 0; });
}

void Sampler::KeepMinP(double min_p) {
  const auto least = static_cast<uint64_t>(std::ceil(min_p * static_cast<double>(kOne)));
  for (uint64_t& weight : weights_) weight = weight >= least ? weight : 0;
}

int32_t Sampler::Draw(uint64_t random_bits) const {
  const uint64_t total = std::accumulate(weights_.begin(), weights_.end(), uint64_t{0});
  // Scales the bits to a number below the total.
  auto left = static_cast<uint64_t>(static_cast<unsigned __int128>(random_bits) * total >> 64);
  size_t token = 0;
  while (left >= weights_[token]) left -= weights_[token++];
  return static_cast<int32_t>(token);
}

}  // namespace longspan
