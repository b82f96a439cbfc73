// The seam's contract as a GPU keeps it: memory that host code cannot touch, work that runs later and in
// order, and the same bits as the CPU backend.
#include "tests/support/deferred_backend.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

#include "tests/kernels/attention_pipeline.h"
#include "tests/support/cpu_backends.h"
#include "tests/support/random_values.h"
#include "tests/support/reference_weight.h"
#include "tests/support/same_bits.h"
#include "tests/support/test_device.h"

namespace longspan {
namespace {

std::unique_ptr<Backend> MakeDeferred(DeferredBackendOptions options = {}) {
  return CreateDeferredBackend(MakeCpuBackend(Isa::kAuto, 2), options);
}

TEST(DeferredBackendDeathTest, HostCodeCannotTouchDeviceMemory) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto backend = MakeDeferred();
  const DeviceBuffer buffer = *backend->device().Allocate(100);
  volatile std::byte* data = buffer.data();
  EXPECT_DEATH(data[0] = std::byte{1}, "");
  EXPECT_DEATH((void)data[99], "");
}

TEST(DeferredBackendDeathTest, OperationsRefuseHostPointers) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  TestDevice device(MakeDeferred());
  std::vector<float> host(16);
  const float* parts = device.Upload(host);
  EXPECT_DEATH(device.backend().SumParts(device.stream(), parts, 1, 16, host.data()), "check failed");
}

TEST(DeferredBackendDeathTest, WorkCannotUseMemoryThatWasFreed) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        TestDevice device(MakeDeferred());
        const size_t mark = device.Mark();
        float* freed = device.Allocate<float>(16);
        device.FreeAfter(mark);
        device.backend().SumParts(device.stream(), freed, 1, 16, freed);
        device.Wait();
      },
      "");
}

TEST(DeferredBackendTest, MemoryIsZeroedAlsoWhenReused) {
  TestDevice device(MakeDeferred());
  for (int i = 0; i < 3; ++i) {
    DeviceBuffer buffer = *device.backend().device().Allocate(10'000);
    EXPECT_EQ(device.Download(buffer.data(), 10'000), std::vector<std::byte>(10'000));
    const std::vector<std::byte> ones(10'000, std::byte{0xff});
    device.backend().device().CopyToDevice(device.stream(), buffer.data(), ones.data(), ones.size());
    device.Wait();
  }
}

TEST(DeferredBackendTest, RunningOutOfMemoryIsAnError) {
  const auto backend = MakeDeferred({.memory_bytes = 1 << 20});
  Device& device = backend->device();
  const auto first = device.Allocate(600'000);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(device.Allocate(600'000).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(device.Allocate(300'000).ok());
}

TEST(DeferredBackendTest, WorkRunsLaterAndInOrder) {
  using std::chrono::milliseconds;
  TestDevice device(MakeDeferred({.max_delay = std::chrono::microseconds(2000)}));
  const float* one = device.Upload<float>({1, 10, 100});
  float* sums = device.Upload<float>({0, 0, 0});
  const std::thread::id caller = std::this_thread::get_id();
  std::atomic<bool> launched = false;
  std::vector<int> order;
  device.stream().Launch([&] {
    std::this_thread::sleep_for(milliseconds(5));
    EXPECT_TRUE(launched) << "work ran inside Launch";
    EXPECT_NE(std::this_thread::get_id(), caller);
    order.push_back(1);
    return absl::OkStatus();
  });
  launched = true;
  // Each step reads what the one before it wrote.
  for (int i = 0; i < 4; ++i) device.backend().SumParts(device.stream(), i == 0 ? one : sums, 3, 1, sums);
  float host[3];
  device.backend().device().CopyToHost(device.stream(), host, sums, sizeof host);
  device.stream().Launch([&] {
    order.push_back(2);
    EXPECT_EQ(host[0], 111);
    const auto* alias = static_cast<const float*>(device.stream().WorkAddress(sums));
    EXPECT_EQ(alias[0], 111);
    return absl::InternalError("first");
  });
  device.stream().Launch([] { return absl::InternalError("second"); });
  EXPECT_EQ(device.stream().Synchronize(), absl::InternalError("first"));
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
  EXPECT_TRUE(device.stream().Synchronize().ok());
}

TEST(DeferredBackendTest, ValuesAreTakenAtTheCall) {
  TestDevice device(MakeDeferred({.max_delay = std::chrono::microseconds(500)}));
  device.stream().Launch([] {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return absl::OkStatus();
  });
  const float* parts = device.Upload<float>({1, 2, 3, 4});
  const Tensor out = device.AllocateMatrix(1, 4);
  std::vector<int64_t> widths = {1, 3};
  device.backend().InterleaveColumns(device.stream(), parts, widths, out);
  widths = {1 << 20, 1 << 20};
  std::vector<HeadSlice> slices = {{0, 4}};
  float* packed = device.Allocate<float>(5);
  const Tensor lse = device.UploadMatrix({9}, 1, 1);
  device.backend().PackPartials(device.stream(), out, lse, 4, slices, packed);
  slices[0] = {1 << 20, 1 << 21};
  EXPECT_EQ(device.Download(packed, 5), (std::vector<float>{1, 2, 3, 4, 9}));
}

// Every operation that attention's pipeline does not use.
std::vector<float> RunOtherOperations(TestDevice& device) {
  constexpr int64_t kRows = 3, kHidden = 256, kInner = 64;
  RandomValues random(90);
  const auto table = device.Load(RandomFileMatrix(DType::kQ8_0, 40, kHidden, 91).Slice());
  const auto gate = device.Load(RandomFileMatrix(DType::kQ4_K, kInner, kHidden, 92).Slice());
  const auto up = device.Load(RandomFileMatrix(DType::kBF16, kInner, kHidden, 93).Slice());
  const Tensor x = device.AllocateMatrix(kRows, kHidden), normed = device.AllocateMatrix(kRows, kHidden);
  const Tensor outs[] = {device.AllocateMatrix(kRows, kInner), device.AllocateMatrix(kRows, kInner)};
  const Weight* weights[] = {gate.get(), up.get()};
  const float* norm = device.Upload(random.Floats(kHidden));
  const float* post = device.Upload(random.Floats(kHidden));
  const Tensor update = device.UploadMatrix(random.Floats(kRows * kHidden), kRows, kHidden);
  const int32_t* ids = device.Upload<int32_t>({7, 39, 0});
  const int32_t* index = device.Upload<int32_t>({2, 0, 1});
  const Tensor activated = device.AllocateMatrix(kRows, kInner), moved = device.AllocateMatrix(kRows, kInner);
  const Tensor result = device.AllocateMatrix(kRows, kInner);
  Backend& backend = device.backend();
  backend.Embed(device.stream(), *table, ids, 2, x);
  backend.ResidualNorm(device.stream(), x, update, post, norm, 1e-6f, normed);
  backend.Linear(device.stream(), weights, normed, outs);
  backend.GatedActivation(device.stream(), true, outs[0], outs[1], activated);
  backend.GatherRows(device.stream(), activated, index, moved);
  backend.ScatterRows(device.stream(), moved, index, result);
  return device.DownloadMatrix(result);
}

TEST(DeferredBackendTest, ResultsAreThoseOfTheCpuBackend) {
  TestDevice cpu(MakeCpuBackend(Isa::kAuto));
  TestDevice deferred(MakeDeferred());
  EXPECT_TRUE(SameBits(RunOtherOperations(deferred), RunOtherOperations(cpu)));
  const PipelineInput input = {
      .heads = 4, .kv_heads = 2, .head_dim = 80, .normed = true, .lengths = {90, 37}};
  const PipelineLayout layout = {
      .kvp = 2, .shift = 1, .chunks = {40, 33, 1}, .slice_ends = {100}, .min_items = 1000};
  EXPECT_TRUE(SameBits(RunPipeline(deferred, input, layout), RunPipeline(cpu, input, {})));
}

}  // namespace
}  // namespace longspan
