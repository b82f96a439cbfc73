#include "launcher/version.h"

#include <mpi.h>
#include <spdlog/version.h>
#include <xxhash.h>

#include <array>

#include <CLI/Version.hpp>
#include <nlohmann/json.hpp>

#include "absl/base/config.h"
#include "absl/strings/str_cat.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/numerics.h"
#include "launcher/build_info.h"
#include "launcher/commit.h"

namespace longspan {
namespace {

std::string MpiVersion() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  MPI_Get_library_version(text.data(), &length);
  const std::string all(text.data(), static_cast<size_t>(length));
  return all.substr(0, all.find_first_of(",\n"));
}

std::string DetectedIsas() {
  std::string names;
  for (const Isa isa : {Isa::kAvx512, Isa::kAvx2, Isa::kPortable}) {
    if (IsaSupported(isa)) absl::StrAppend(&names, names.empty() ? "" : ", ", std::string(Name(isa)));
  }
  return names;
}

}  // namespace

std::string BuildName() { return absl::StrCat(LONGSPAN_VERSION, " (commit ", LONGSPAN_COMMIT, ")"); }

std::string VersionText() {
  const std::string sanitizers = LONGSPAN_SANITIZERS;
  const unsigned xxhash = XXH_versionNumber();
  return absl::StrCat(
      "longspan ", BuildName(), "\n", "build: ", LONGSPAN_BUILD_TYPE, ", ", LONGSPAN_COMPILER,
      sanitizers.empty() ? "" : ", sanitizers " + sanitizers, "\n", "features: cpu, mpi\n",
      "instruction sets: compiled ", LONGSPAN_COMPILED_ISAS, "; this processor has ", DetectedIsas(),
      ", auto is ", std::string(Name(DetectIsa())), "\n", "libraries: ", MpiVersion(), ", absl ",
      ABSL_LTS_RELEASE_VERSION, ".", ABSL_LTS_RELEASE_PATCH_LEVEL, ", CLI11 ", CLI11_VERSION,
      ", nlohmann-json ", NLOHMANN_JSON_VERSION_MAJOR, ".", NLOHMANN_JSON_VERSION_MINOR, ".",
      NLOHMANN_JSON_VERSION_PATCH, ", yaml-cpp ", LONGSPAN_YAML_CPP_VERSION, ", spdlog ", SPDLOG_VER_MAJOR,
      ".", SPDLOG_VER_MINOR, ".", SPDLOG_VER_PATCH, ", PCRE2 ", LONGSPAN_PCRE2_VERSION, ", xxHash ",
      xxhash / 10000, ".", xxhash / 100 % 100, ".", xxhash % 100, "\n");
}

}  // namespace longspan
