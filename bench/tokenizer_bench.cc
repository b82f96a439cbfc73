// longspan_tokenizer_bench: how fast vocabularies load, and text becomes ids and ids text.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "bench/options.h"
#include "bench/report.h"
#include "kernels/check.h"
#include "runtime/model/model_files.h"
#include "runtime/tokenizer/tokenizer.h"

namespace longspan::bench {
namespace {

constexpr char kProgram[] = "longspan_tokenizer_bench";

struct Options {
  std::vector<std::string> models;
  std::string text_path = "ARCHITECTURE.md";
  MeasurementOptions measurement;
  OutputOptions output;
};

template <typename T>
T OrFail(absl::StatusOr<T> value) {
  if (value.ok()) return *std::move(value);
  std::fprintf(stderr, "%s: %s\n", kProgram, std::string(value.status().message()).c_str());
  std::exit(1);
}

std::string ReadText(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  if (!text.str().empty()) return text.str();
  std::fprintf(stderr, "%s: --text %s: is empty or cannot be read\n", kProgram, path.c_str());
  std::exit(1);
}

void RunCases(const std::string& path, const std::string& text, Measurement& measurement) {
  const ModelFiles files = OrFail(ModelFiles::Open(path));
  const auto tokenizer = OrFail(Tokenizer::Create(files));
  const std::vector<int32_t> ids = OrFail(tokenizer->Encode(text, {}));
  const std::string name = std::filesystem::path(path).filename().string();
  std::vector<Case> cases;
  const auto add = [&](const char* what, double amount, const char* unit, std::function<void()> run) {
    Case timed;
    timed.name = absl::StrCat(name, "/", what);
    timed.amount = amount;
    timed.unit = unit;
    timed.run = std::move(run);
    if (measurement.Wants(timed.name, timed.threads)) cases.push_back(std::move(timed));
  };
  add("load", static_cast<double>(tokenizer->vocab_size()) * 1e-3, "thousand tokens/s", [&] {
    const ModelFiles opened = OrFail(ModelFiles::Open(path));
    OrFail(Tokenizer::Create(opened));
  });
  const double megabytes = static_cast<double>(text.size()) * 1e-6;
  add("encode", megabytes, "MB/s", [&] { LONGSPAN_CHECK(tokenizer->Encode(text, {}).ok()); });
  add("decode", megabytes, "MB/s", [&] { LONGSPAN_CHECK(!tokenizer->Decode(ids).empty()); });
  measurement.Run(cases);
}

int Main(int argc, char** argv) {
  Options options;
  options.measurement.thread_counts = {1};
  CLI::App app(
      "Times tokenizers in one thread: loading a vocabulary, its file in memory already; encoding a text\n"
      "whole; and decoding what it became. Nothing bounds them that could be measured.");
  app.option_defaults()->always_capture_default();
  app.add_option("models", options.models,
                 "GGUF files, also of a vocabulary alone, or folders with a tokenizer.json")
      ->required();
  app.add_option("--text", options.text_path, "file whose text is encoded");
  AddCommonOptions(app, "encode", &options.measurement, &options.output);
  if (const std::optional<int> code = ParseOptions(app, argc, argv)) return *code;

  const std::string text = ReadText(options.text_path);
  std::printf("%s, median of %d rounds, %zu bytes of %s\n", ProcessorName().c_str(),
              options.measurement.rounds, text.size(), options.text_path.c_str());
  const OtherLoad load;
  Measurement measurement(options.measurement, AvailableCpus());
  for (const std::string& model : options.models) RunCases(model, text, measurement);
  return Finish(kProgram, options.output.json_path, {{"text", options.text_path}}, measurement, load.Cpus());
}

}  // namespace
}  // namespace longspan::bench

int main(int argc, char** argv) { return longspan::bench::Main(argc, argv); }
