#include "bench/tokenizer_case.h"

#include <cstdio>
#include <fstream>
#include <sstream>

#include "kernels/check.h"
#include "runtime/tokenizer/tokenizer.h"

namespace longspan::bench {

void RunTokenizerCase(const ModelSource& source, const std::string& text_path, Measurement& measurement) {
  Case timed;
  timed.name = "tokenizer/encode";
  if (!measurement.Wants(timed.name, timed.threads)) return;
  const auto tokenizer = Tokenizer::Create(source);
  std::ifstream file(text_path);
  std::ostringstream text;
  text << file.rdbuf();
  if (!tokenizer.ok() || text.str().empty()) {
    std::printf("%s: not timed: %s\n", timed.name.c_str(),
                tokenizer.ok() ? ("--text " + text_path + " is empty or cannot be read").c_str()
                               : std::string(tokenizer.status().message()).c_str());
    return;
  }
  timed.amount = static_cast<double>(text.str().size()) * 1e-6;
  timed.unit = "MB/s";
  timed.run = [&tokenizer, text = text.str()] { LONGSPAN_CHECK((*tokenizer)->Encode(text, {}).ok()); };
  measurement.Run({timed});
}

}  // namespace longspan::bench
