// The paged KV memory of one rank as a host image: pages in random order, full of NaN and infinity where
// nothing was written.
#pragma once

#include <cstring>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/half.h"
#include "tests/support/random_values.h"
#include "tests/support/test_device.h"

namespace longspan {

class PagedKv {
 public:
  // Each page holds two layers, of which this is the second; a block's pages are columns 0..pages_per_block -
  // 1 and this layer's is `page_column`.
  PagedKv(const KvLayout& layout, int32_t max_blocks, int pages_per_block, int page_column, uint64_t seed)
      : layout_(layout),
        pages_per_block_(pages_per_block),
        page_column_(page_column),
        free_pages_(RandomValues(seed).Permutation(max_blocks * pages_per_block)),
        image_(free_pages_.size() * PageBytes()) {
    for (size_t i = 0; i < image_.size(); i += 2) {
      const uint16_t garbage = i % 64 < 32 ? 0xffff : i % 128 < 64 ? 0x7f80 : 0xff80;
      std::memcpy(&image_[i], &garbage, sizeof garbage);
    }
  }

  // Appends the pages of a new block to `pages`.
  void AddBlock(std::vector<int32_t>& pages) {
    for (int i = 0; i < pages_per_block_; ++i) {
      pages.push_back(free_pages_.back());
      free_pages_.pop_back();
    }
  }

  // `pages`: those of the token's block. which: 0 = key, 1 = value.
  void Write(const int32_t* pages, int head, int token, int which, int dimension, float value) {
    std::byte* at = Address(pages, head, token, which, dimension);
    const uint16_t half = F32ToBf16(value);
    if (layout_.dtype == DType::kF32) {
      std::memcpy(at, &value, sizeof value);
    } else {
      std::memcpy(at, &half, sizeof half);
    }
  }
  float Read(const int32_t* pages, int head, int token, int which, int dimension) {
    const std::byte* at = Address(pages, head, token, which, dimension);
    float value;
    uint16_t half;
    std::memcpy(&half, at, sizeof half);
    if (layout_.dtype != DType::kF32) return Bf16ToF32(half);
    std::memcpy(&value, at, sizeof value);
    return value;
  }

  // The layer on the device, which starts as the image.
  KvLayer Upload(TestDevice& device) {
    device_image_ = device.Upload(image_);
    return {device_image_ + layout_.layer_bytes(), PageBytes(), pages_per_block_, page_column_, layout_};
  }
  void Download(TestDevice& device) { image_ = device.Download(device_image_, image_.size()); }
  const std::vector<std::byte>& image() const { return image_; }

 private:
  size_t PageBytes() const { return 2 * layout_.layer_bytes(); }

  std::byte* Address(const int32_t* pages, int head, int token, int which, int dimension) {
    const int d = layout_.head_dim, tokens = layout_.block_size;
    int index = 0;
    if (layout_.dtype == DType::kF32) {
      index = which == 0 ? dimension * tokens + token : tokens * d + token * d + dimension;
    } else if (which == 0) {
      index = (dimension / 2 * tokens + token) * 2 + dimension % 2;
    } else {
      index = tokens * d + (token / 2 * d + dimension) * 2 + token % 2;
    }
    return &image_[static_cast<size_t>(pages[page_column_]) * PageBytes() + layout_.layer_bytes() +
                   static_cast<size_t>(head) * layout_.piece_bytes() +
                   static_cast<size_t>(index * Traits(layout_.dtype).block_bytes)];
  }

  const KvLayout layout_;
  const int pages_per_block_, page_column_;
  std::vector<int32_t> free_pages_;
  std::vector<std::byte> image_;
  std::byte* device_image_ = nullptr;
};

inline DevicePlan UploadPlan(TestDevice& device, const AttentionPlan& plan, int64_t window) {
  DevicePlan uploaded;
  uploaded.blocks = device.Upload(plan.blocks);
  uploaded.pages = device.Upload(plan.pages);
  uploaded.classes = device.Upload(plan.classes);
  uploaded.items = device.Upload(plan.items);
  uploaded.slots = device.Upload(plan.slots);
  uploaded.num_items = static_cast<int64_t>(plan.items.size());
  uploaded.splits = plan.splits;
  uploaded.window = window;
  return uploaded;
}

}  // namespace longspan
