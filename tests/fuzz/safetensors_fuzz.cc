// A safetensors file that anybody may have written.
#include "runtime/model/safetensors.h"
#include "tests/fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const longspan::MemoryFile input(data, size);
  const auto file = longspan::MappedFile::Open(input.path());
  if (!file.ok()) return 0;
  const auto tensors = longspan::ReadSafetensors(**file);
  if (!tensors.ok()) return 0;
  [[maybe_unused]] volatile std::byte sink{};
  for (const longspan::TensorEntry& tensor : *tensors) {
    if (tensor.bytes == 0) continue;
    sink = tensor.data[0];
    sink = tensor.data[tensor.bytes - 1];
  }
  return 0;
}
