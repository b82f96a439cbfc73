// Safetensors files (https://github.com/huggingface/safetensors): an 8-byte length, a JSON header, then data.
//
// Errors name the file, the tensor and the value. Nothing is allocated or used before it was checked against
// the size of the file. Data may be unaligned: the format promises no alignment.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/model/mapped_file.h"
#include "runtime/model/tensor_file.h"

namespace longspan {

// The tensors of `file`, whose mapping their data points into, in order of name.
absl::StatusOr<std::vector<TensorEntry>> ReadSafetensors(const MappedFile& file);

struct SafetensorsFolder {
  std::vector<std::unique_ptr<MappedFile>> files;
  std::vector<TensorEntry> tensors;  // point into `files`
};

// The tensors of a model folder: of model.safetensors, else of the files that model.safetensors.index.json
// lists, else of every *.safetensors file. A tensor that two files hold, or that the index places in a file
// which lacks it, is an error.
absl::StatusOr<SafetensorsFolder> OpenSafetensorsFolder(const std::string& folder);

}  // namespace longspan
