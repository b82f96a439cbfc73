// usage: tokenizer_speed TEXT_FILE MODEL...
//
// For each model (a GGUF file or a folder with tokenizer.json): how long its tokenizer takes to load, and how
// much of the text one thread turns into ids and back in a second.
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "runtime/model/model_files.h"
#include "runtime/tokenizer/tokenizer.h"

namespace longspan {
namespace {

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The text in pieces of about 4 KB that end with a line, as requests come.
std::vector<std::string_view> Cut(std::string_view text) {
  constexpr size_t kPieceBytes = 4096;
  std::vector<std::string_view> pieces;
  while (!text.empty()) {
    const size_t end = text.size() <= kPieceBytes ? text.npos : text.find('\n', kPieceBytes);
    const size_t length = end == text.npos ? text.size() : end + 1;
    pieces.push_back(text.substr(0, length));
    text.remove_prefix(length);
  }
  return pieces;
}

int Measure(const char* model, std::string_view text) {
  const double load_begin = Now();
  const auto files = ModelFiles::Open(model);
  if (!files.ok()) {
    std::fprintf(stderr, "%s\n", files.status().ToString().c_str());
    return 1;
  }
  const auto tokenizer = Tokenizer::Create(**files);
  const double load_s = Now() - load_begin;
  if (!tokenizer.ok()) {
    std::fprintf(stderr, "%s\n", tokenizer.status().ToString().c_str());
    return 1;
  }
  const std::vector<std::string_view> pieces = Cut(text);
  double best_encode_s = 1e9, best_decode_s = 1e9;
  size_t tokens = 0;
  for (int round = 0; round < 3; ++round) {
    std::vector<std::vector<int32_t>> ids;
    const double encode_begin = Now();
    for (const std::string_view piece : pieces) {
      auto encoded = (*tokenizer)->Encode(piece, {.add_special = false});
      if (!encoded.ok()) {
        std::fprintf(stderr, "%s\n", encoded.status().ToString().c_str());
        return 1;
      }
      ids.push_back(*std::move(encoded));
    }
    const double decode_begin = Now();
    size_t bytes = 0;
    tokens = 0;
    for (const std::vector<int32_t>& piece : ids) {
      bytes += (*tokenizer)->Decode(piece).size();
      tokens += piece.size();
    }
    const double end = Now();
    if (bytes != text.size())
      std::fprintf(stderr, "%s: %zu bytes came back of %zu\n", model, bytes, text.size());
    best_encode_s = std::min(best_encode_s, decode_begin - encode_begin);
    best_decode_s = std::min(best_decode_s, end - decode_begin);
  }
  const double megabytes = static_cast<double>(text.size()) / 1e6;
  std::printf("%-60s load %6.3f s, encode %6.2f MB/s, decode %7.2f MB/s, %.2f bytes a token\n", model, load_s,
              megabytes / best_encode_s, megabytes / best_decode_s,
              static_cast<double>(text.size()) / static_cast<double>(tokens));
  return 0;
}

}  // namespace
}  // namespace longspan

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: tokenizer_speed TEXT_FILE MODEL...\n");
    return 2;
  }
  std::ifstream file(argv[1], std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  if (text.empty()) {
    std::fprintf(stderr, "%s: cannot be read or is empty\n", argv[1]);
    return 1;
  }
  int failures = 0;
  for (int i = 2; i < argc; ++i) failures += longspan::Measure(argv[i], text);
  return failures == 0 ? 0 : 1;
}
