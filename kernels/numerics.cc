#include "kernels/numerics.h"

#include "absl/strings/str_cat.h"

namespace longspan {

std::vector<int> ClassOrder(int ways) {
  std::vector<int> order(static_cast<size_t>(ways));
  int bits = 0;
  while ((1 << bits) < ways) ++bits;
  const bool power_of_two = (1 << bits) == ways;
  for (int i = 0; i < ways; ++i) {
    int reversed = 0;
    for (int b = 0; b < bits; ++b) reversed |= (i >> b & 1) << (bits - 1 - b);
    order[static_cast<size_t>(i)] = power_of_two ? reversed : i;
  }
  return order;
}

std::string_view Name(ActivationDType dtype) {
  switch (dtype) {
    case ActivationDType::kAuto:
      return "auto";
    case ActivationDType::kInt8:
      return "int8";
    case ActivationDType::kBF16:
      return "bf16";
    case ActivationDType::kF32:
      return "f32";
  }
  return "";
}

std::string_view Name(Isa isa) {
  switch (isa) {
    case Isa::kAuto:
      return "auto";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kPortable:
      return "portable";
  }
  return "";
}

std::string Numerics::ToString() const {
  return absl::StrCat("block ", block_size, ", kv ", std::string(Traits(kv_dtype).name), ", activations ",
                      std::string(Name(activation)), ", isa ", std::string(Name(isa)), ", ways ", ways);
}

}  // namespace longspan
