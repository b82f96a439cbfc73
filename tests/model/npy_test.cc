#include "runtime/model/npy.h"

#include <cstring>

#include "tests/model/test_files.h"

namespace longspan {
namespace {

// A version 1 file with this header dictionary and these bytes.
std::string Npy(const std::string& header, const std::string& data) {
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes += static_cast<char>(header.size() & 0xff);
  bytes += static_cast<char>(header.size() >> 8);
  return bytes + header + data;
}

TEST(NpyTest, ReadsGoldenTokensAndLogits) {
  const auto tokens = ReadNpy(Golden("llama3-gqa/tokens.npy"));
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  ASSERT_EQ(tokens->shape.size(), 1u);
  ASSERT_TRUE(std::holds_alternative<std::vector<int32_t>>(tokens->values));
  const auto ids = NpyIntegers(*tokens, "tokens");
  ASSERT_TRUE(ids.ok());
  ASSERT_EQ(static_cast<int64_t>(ids->size()), tokens->shape[0]);
  for (const int64_t id : *ids) EXPECT_TRUE(id >= 0 && id < 320) << id;

  const auto logits = ReadNpy(Golden("llama3-gqa/logits.npy"));
  ASSERT_TRUE(logits.ok()) << logits.status();
  EXPECT_EQ(logits->shape, (std::vector<int64_t>{tokens->shape[0], 320}));
  EXPECT_EQ(std::get<std::vector<float>>(logits->values).size(), static_cast<size_t>(tokens->shape[0] * 320));
  ExpectError(NpyIntegers(*logits, "logits.npy").status(), {"logits.npy", "floats"});
}

TEST(NpyTest, ReadsEveryTypeAndVersion2) {
  TempFolder folder;
  const std::string path = folder / "a.npy";
  WriteFile(path, Npy("{'descr': '<i8', 'fortran_order': False, 'shape': (1, 2), }\n",
                      std::string("\x01\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", 16)));
  auto array = ReadNpy(path);
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_EQ(array->shape, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(*NpyIntegers(*array, path), (std::vector<int64_t>{1, -1}));

  WriteFile(path, Npy("{'descr': '<u4', 'fortran_order': False, 'shape': (1,), }\n", "\xff\xff\xff\xff"));
  array = ReadNpy(path);
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_EQ(*NpyIntegers(*array, path), (std::vector<int64_t>{4294967295}));

  const std::string header = "{'descr': '<i4', 'fortran_order': False, 'shape': (), }\n";
  std::string version2("\x93NUMPY\x02\x00", 8);
  version2 += static_cast<char>(header.size());
  version2 += std::string(3, '\0') + header + std::string("\x07\0\0\0", 4);
  WriteFile(path, version2);
  array = ReadNpy(path);
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_TRUE(array->shape.empty());
  EXPECT_EQ(*NpyIntegers(*array, path), (std::vector<int64_t>{7}));
}

TEST(NpyTest, RefusesWhatItCannotRead) {
  TempFolder folder;
  const std::string path = folder / "a.npy";
  const std::pair<std::string, std::string_view> cases[] = {
      {"hello, this is no array", "not a .npy file"},
      {Npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }\n", std::string(8, '\0')),
       "another type"},
      {Npy("{'descr': '>i4', 'fortran_order': False, 'shape': (1,), }\n", std::string(4, '\0')),
       "another type"},
      {Npy("{'descr': '<i4', 'fortran_order': True, 'shape': (1,), }\n", std::string(4, '\0')), "Fortran"},
      {Npy("{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }\n", std::string(8, '\0')), "3 values"},
      {Npy("{'descr': '<i4', 'fortran_order': False, 'shape': (1,), }\n", std::string(5, '\0')), "5 bytes"},
      {Npy("{'descr': '<i4', 'fortran_order': False, 'shape': (-1,), }\n", ""), "shape"},
      {Npy("{'descr': '<i4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }\n", ""),
       "overflows"},
      {Npy("{'descr': '<i4', 'fortran_order': False, 'shape': (1", ""), "without"},
      {std::string("\x93NUMPY\x03\x00\x00\x00", 10), "version 3"},
      {std::string("\x93NUMPY\x01\x00\xff\xff", 10), "ends inside its header"},
  };
  for (const auto& [content, expected] : cases) {
    WriteFile(path, content);
    ExpectError(ReadNpy(path).status(), {path, expected, "numpy.save"});
  }
  ExpectError(ReadNpy(folder / "absent.npy").status(), {"absent.npy", "No such file"});
}

TEST(NpyTest, WritesWhatItReads) {
  TempFolder folder;
  const std::string path = folder / "out.npy";
  auto writer = NpyWriter::Create(path, 3, 2);
  ASSERT_TRUE(writer.ok()) << writer.status();
  const float rows[] = {1.5f, -2.0f, 0.25f, 1e30f, 7.0f, -0.0f};
  ASSERT_TRUE((*writer)->Write(std::span(rows).first(4)).ok());
  ASSERT_TRUE((*writer)->Write(std::span(rows).subspan(4)).ok());
  ASSERT_TRUE((*writer)->Finish().ok());

  const auto array = ReadNpy(path);
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_EQ(array->shape, (std::vector<int64_t>{3, 2}));
  const auto& values = std::get<std::vector<float>>(array->values);
  EXPECT_EQ(std::memcmp(values.data(), rows, sizeof(rows)), 0);
  const size_t header_bytes = std::filesystem::file_size(path) - sizeof(rows);
  EXPECT_EQ(header_bytes % 64, 0u);
}

TEST(NpyTest, ReportsMissingRowsAndUnwritablePaths) {
  TempFolder folder;
  auto writer = NpyWriter::Create(folder / "out.npy", 2, 1);
  ASSERT_TRUE(writer.ok());
  const float row[] = {1.0f};
  ASSERT_TRUE((*writer)->Write(row).ok());
  ExpectError((*writer)->Finish(), {"out.npy", "1 of 2 rows"});
  ExpectError(NpyWriter::Create(folder / "absent/out.npy", 1, 1).status(),
              {"absent/out.npy", "cannot create"});
}

}  // namespace
}  // namespace longspan
