// The CPU backend in all its instruction sets, for parameterised tests.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "kernels/check.h"
#include "kernels/cpu/cpu_backend.h"

namespace longspan {

inline std::vector<Isa> SupportedIsas() {
  std::vector<Isa> isas;
  for (Isa isa : {Isa::kAvx512, Isa::kAvx2, Isa::kPortable}) {
    if (IsaSupported(isa)) isas.push_back(isa);
  }
  return isas;
}

inline std::unique_ptr<Backend> MakeCpuBackend(Isa isa, int threads = 1,
                                               ActivationDType activation = ActivationDType::kAuto) {
  auto backend = CreateCpuBackend({.threads = threads, .isa = isa, .activation = activation});
  LONGSPAN_CHECK(backend.ok());
  return *std::move(backend);
}

inline std::string IsaTestName(const ::testing::TestParamInfo<Isa>& info) {
  return std::string(Name(info.param));
}

}  // namespace longspan
