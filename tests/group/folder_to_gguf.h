// Writes a Hugging Face folder as a GGUF file, with the conventions of llama.cpp's converter. For tests.
#pragma once

#include <functional>
#include <string>

#include "tests/tools/gguf_writer.h"

namespace longspan::testing {

struct GgufConventions {
  std::string architecture;        // the prefix of its settings
  bool interleaved_heads = false;  // of a query or key head, row i and row i + d/2 become 2i and 2i + 1
  float norm_offset = 0;           // added to the weights of norms
  std::function<void(GgufWriter&)> add_settings;  // beyond the shape; may be empty
};

// Matrices keep their format, vectors become F32. Aborts the test binary with a message when anything fails.
void WriteFolderAsGguf(const std::string& folder, const GgufConventions& conventions,
                       const std::string& path);

}  // namespace longspan::testing
