// A decode step allocates nothing once such a step was seen, except where the sequence takes a block.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "comm/thread_bootstrap.h"
#include "comm/thread_communicator.h"
#include "kernels/cpu/cpu_backend.h"
#include "runtime/engine/engine.h"
#include "runtime/engine/group.h"
#include "tests/group/goldens.h"

namespace {

std::atomic<int64_t> allocations{0};  // of all threads

void* Allocate(size_t bytes, size_t alignment) {
  ++allocations;
  // The size is a multiple of the alignment, as aligned_alloc asks.
  void* memory = std::aligned_alloc(alignment, (bytes + alignment) / alignment * alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
// Inlined into code that calls `new`, it would look like the wrong way to free what that returned.
[[gnu::noinline]] void Release(void* memory) { std::free(memory); }

}  // namespace

// The array forms call these.
void* operator new(size_t bytes) { return Allocate(bytes, __STDCPP_DEFAULT_NEW_ALIGNMENT__); }
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  return Allocate(bytes, __STDCPP_DEFAULT_NEW_ALIGNMENT__);
}
void* operator new(size_t bytes, std::align_val_t alignment) {
  return Allocate(bytes, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept { Release(memory); }
void operator delete(void* memory, size_t) noexcept { Release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { Release(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { Release(memory); }

namespace longspan::testing {
namespace {

class Ignore final : public RequestListener {
 public:
  void OnLogits(int64_t, std::span<const float>) override {}
  bool OnToken(int32_t) override { return true; }
  void OnFinish(FinishReason) override {}
};

TEST(AllocationsTest, ADecodeStepAllocatesNothing) {
  constexpr int kBlockSize = 32;
  constexpr int64_t kPrompt = 40, kOutput = 70;
  for (const char* name : {"llama3-gqa", "gemma3-dual"}) {
    const std::unique_ptr<ModelSource> source = *ModelSource::Open(FindGolden(name).model_path);
    const std::unique_ptr<Backend> backend = *CreateCpuBackend({.threads = 2});
    const std::unique_ptr<Bootstrap> bootstrap = std::move(CreateThreadBootstraps(1).front());
    GroupOptions options;
    options.numerics.block_size = kBlockSize;
    options.numerics.isa = DetectIsa();
    options.kv_bytes = uint64_t{64} << 20;
    const std::unique_ptr<Group> group = *Group::Create(
        *source, *bootstrap, std::move(CreateThreadCommunicators(1).front()), *backend, options);
    EngineOptions engine_options;
    engine_options.geometry = group->geometry();
    engine_options.max_context = group->options().max_context;
    engine_options.vocab_size = source->config().vocab_size;
    engine_options.max_logit_rows = group->options().max_logit_rows;
    const std::unique_ptr<Engine> engine = *Engine::Create(engine_options, group.get());

    // Two sequences that take their blocks in the same steps; one draws, with everything that can be asked.
    Ignore ignore;
    Request greedy;
    greedy.prompt.assign(kPrompt, 5);
    greedy.max_tokens = kOutput;
    greedy.ignore_eos = true;
    Request drawing = Copy(greedy);
    drawing.sampling.temperature = 1;
    drawing.sampling.top_k = 50;
    drawing.sampling.top_p = 0.9;
    drawing.sampling.min_p = 0.01;
    ASSERT_TRUE(engine->Submit(std::move(greedy), &ignore).ok());
    ASSERT_TRUE(engine->Submit(std::move(drawing), &ignore).ok());

    const int64_t before = allocations;
    ASSERT_TRUE(engine->Step().ok());  // the prompts
    EXPECT_GT(allocations, before) << "allocations are not counted";
    for (int64_t position = kPrompt; engine->HasWork(); ++position) {
      const int64_t before_step = allocations;
      ASSERT_TRUE(engine->Step().ok());
      const bool takes_block = position % kBlockSize == 0;
      const bool ends = position == kPrompt + kOutput - 2;
      if (position == kPrompt || takes_block || ends) continue;
      EXPECT_EQ(allocations - before_step, 0) << name << ", position " << position;
    }
  }
}

}  // namespace
}  // namespace longspan::testing
