#include "kernels/numerics.h"

#include "absl/strings/str_cat.h"

namespace longspan {

int ClassAt(int i, int ways) {
  if ((ways & (ways - 1)) != 0) return i;
  int reversed = 0;
  for (int bit = 1; bit < ways; bit *= 2, i /= 2) reversed = 2 * reversed + i % 2;
  return reversed;
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
