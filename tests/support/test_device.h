// A backend with one stream and typed arrays in its memory, for tests that must run on any backend: results
// are read only through copies.
#pragma once

#include <cstring>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "kernels/backend.h"
#include "kernels/check.h"

namespace longspan {

// Arrays live until the TestDevice is destroyed, or FreeAfter. One thread at a time.
class TestDevice {
 public:
  explicit TestDevice(std::unique_ptr<Backend> backend)
      : backend_(std::move(backend)), stream_(backend_->device().NewStream()) {}
  ~TestDevice() { Wait(); }

  Backend& backend() { return *backend_; }
  Stream& stream() { return *stream_; }
  void Wait() { LONGSPAN_CHECK(stream_->Synchronize().ok()); }

  // An array whose bytes are all ones (NaN as a float), so that what an operation leaves out shows.
  template <typename T>
  T* Allocate(size_t count) {
    const std::vector<std::byte> ones(count * sizeof(T), std::byte{0xff});
    return reinterpret_cast<T*>(UploadBytes(ones.data(), ones.size()));
  }

  template <typename T>
  T* Upload(const std::vector<T>& values) {
    return reinterpret_cast<T*>(UploadBytes(values.data(), values.size() * sizeof(T)));
  }

  template <typename T>
  std::vector<T> Download(const T* device, size_t count) {
    std::vector<T> values(count);
    backend_->device().CopyToHost(*stream_, values.data(), device, count * sizeof(T));
    Wait();
    return values;
  }

  Tensor UploadMatrix(const std::vector<float>& values, int64_t rows, int64_t columns) {
    LONGSPAN_CHECK(static_cast<int64_t>(values.size()) == rows * columns);
    return MakeTensor(Upload(values), DType::kF32, rows, columns);
  }
  Tensor AllocateMatrix(int64_t rows, int64_t columns) {
    return MakeTensor(Allocate<float>(static_cast<size_t>(rows * columns)), DType::kF32, rows, columns);
  }
  std::vector<float> DownloadMatrix(const Tensor& tensor) {
    LONGSPAN_CHECK(tensor.stride == tensor.columns);
    return Download(static_cast<const float*>(tensor.data),
                    static_cast<size_t>(tensor.rows * tensor.columns));
  }

  // Frees the arrays that were made after the mark was taken.
  size_t Mark() const { return buffers_.size(); }
  void FreeAfter(size_t mark) {
    Wait();
    buffers_.erase(buffers_.begin() + static_cast<int64_t>(mark), buffers_.end());
  }

  std::unique_ptr<Weight> Load(const WeightSlice& slice) {
    auto weight = backend_->LoadWeight(slice);
    LONGSPAN_CHECK(weight.ok());
    return *std::move(weight);
  }

 private:
  std::byte* UploadBytes(const void* host, size_t bytes) {
    auto buffer = backend_->device().Allocate(bytes);
    LONGSPAN_CHECK(buffer.ok());
    backend_->device().CopyToDevice(*stream_, buffer->data(), host, bytes);
    Wait();
    buffers_.push_back(*std::move(buffer));
    return buffers_.back().data();
  }

  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Stream> stream_;
  std::vector<DeviceBuffer> buffers_;
};

}  // namespace longspan
