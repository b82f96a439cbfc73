#include "kvstore/piece_message.h"

#include <cstring>
#include <map>
#include <string>

#include "absl/strings/escaping.h"
#include "gtest/gtest.h"

namespace longspan {
namespace {

const std::vector<std::byte> kPayload(2 * 3 * 2 * 4 * 2 * 2, std::byte{0x5a});

PieceMessage Message() {
  PieceMessage message;
  for (size_t i = 0; i < 16; ++i) message.handoff.token[i] = static_cast<std::byte>(0xa0 + i);
  message.handoff.epoch = 0x0102030405060708;
  message.pieces = {.block = 77, .layer_group = 1, .heads = {6, 8}, .layers = {2, 5}};
  message.filled_tokens = 3;
  message.dtype = DType::kBF16;
  message.block_size = 4;
  message.head_dim = 2;
  message.payload_bytes = kPayload.size();
  message.block_hash = {0x1111111111111111, 0x2222222222222222};
  return message;
}

PieceHeader Encode(const PieceMessage& message) {
  const std::span<const std::byte> payload = kPayload;
  const std::vector<std::span<const std::byte>> parts = {payload.first(50), payload.subspan(50, 1),
                                                         payload.subspan(51)};
  return EncodePieceHeader(message, parts);
}

TEST(PieceMessageTest, HeadersAreTheDocumentedBytes) {
  const PieceHeader header = Encode(Message());
  const std::string hex =
      absl::BytesToHexString({reinterpret_cast<const char*>(header.data()), header.size()});
  EXPECT_EQ(hex.substr(0, 224),
            "4c534b5601000000"
            "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"
            "0807060504030201"
            "4d00000000000000"
            "01000000"
            "0200000005000000"
            "0600000008000000"
            "03000000"
            "1e0000000400000002000000"
            "00000000"
            "c000000000000000"
            "11111111111111112222222222222222"
            "0000000000000000");
  EXPECT_EQ(hex.substr(224), "eeb5ac1ec4c9537514948a89e43420e8");
}

TEST(PieceMessageTest, WhatWasEncodedIsDecoded) {
  for (const DType dtype : {DType::kBF16, DType::kF32}) {
    PieceMessage message = Message();
    message.dtype = dtype;
    if (dtype == DType::kF32) message.pieces.layers = {0, 1}, message.pieces.heads = {5, 8};
    const PieceHeader header = Encode(message);
    PieceMessage decoded;
    ASSERT_EQ(DecodePieceHeader(header, &decoded), std::nullopt);
    EXPECT_EQ(decoded, message);
    EXPECT_TRUE(IsIntact(header, kPayload));
  }
}

TEST(PieceMessageTest, AnyChangedBitIsFound) {
  const PieceHeader header = Encode(Message());
  PieceMessage decoded;
  for (size_t bit = 0; bit < 8 * header.size(); ++bit) {
    PieceHeader changed = header;
    changed[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    EXPECT_TRUE(DecodePieceHeader(changed, &decoded).has_value() || !IsIntact(changed, kPayload)) << bit;
  }
  for (size_t bit = 0; bit < 8 * kPayload.size(); ++bit) {
    std::vector<std::byte> changed = kPayload;
    changed[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    EXPECT_FALSE(IsIntact(header, changed)) << bit;
  }
  EXPECT_FALSE(IsIntact(header, std::span(kPayload).first(kPayload.size() - 1)));
}

TEST(PieceMessageTest, ImpossibleHeadersAreRefusedByField) {
  struct Case {
    size_t offset;
    uint32_t value;
    PieceRejection reason;
  };
  const uint32_t kLarge = 0x80000000;
  for (const auto& [offset, value, reason] : {
           Case{0, 0, PieceRejection::kHeader},
           {4, 2, PieceRejection::kHeader},
           {76, 1, PieceRejection::kHeader},
           {104, 1, PieceRejection::kHeader},
           {36, kLarge, PieceRejection::kCoordinates},  // the block's high half
           {40, kLarge, PieceRejection::kCoordinates},
           {44, 5, PieceRejection::kCoordinates},
           {48, kLarge, PieceRejection::kCoordinates},
           {52, 8, PieceRejection::kCoordinates},
           {56, 6, PieceRejection::kCoordinates},
           {60, 0, PieceRejection::kFilled},
           {60, 5, PieceRejection::kFilled},
           {64, 1, PieceRejection::kFormat},
           {68, 0, PieceRejection::kFormat},
           {72, kLarge, PieceRejection::kFormat},
           {80, 191, PieceRejection::kLength},
           {84, 1, PieceRejection::kLength},
           {48, 0x7fffffff, PieceRejection::kLength},
       }) {
    PieceHeader header = Encode(Message());
    std::memcpy(&header[offset], &value, sizeof value);
    PieceMessage message;
    EXPECT_EQ(DecodePieceHeader(header, &message), reason) << offset;
    EXPECT_EQ(message, PieceMessage());
  }
}

TEST(PieceMessageTest, LengthsThatOverflowAreRefused) {
  PieceHeader header = Encode(Message());
  const auto put = [&](size_t offset, uint32_t value) { std::memcpy(&header[offset], &value, sizeof value); };
  // 2^31 layers and heads of 2^31 x 2^31 elements are a multiple of 2^64 bytes.
  put(44, 0), put(48, 0x40000000), put(52, 0), put(56, 0x40000000), put(68, 0x40000000), put(72, 0x40000000);
  put(80, 0), put(84, 0);
  PieceMessage message;
  EXPECT_EQ(DecodePieceHeader(header, &message), PieceRejection::kLength);
}

TEST(PieceMessageTest, OnlyWholeHeadersAreRead) {
  const PieceHeader header = Encode(Message());
  PieceMessage message;
  for (size_t bytes = 0; bytes < header.size(); ++bytes) {
    EXPECT_EQ(DecodePieceHeader(std::span(header).first(bytes), &message), PieceRejection::kHeader);
  }
  std::vector<std::byte> longer(header.begin(), header.end());
  longer.push_back({});
  EXPECT_EQ(DecodePieceHeader(longer, &message), PieceRejection::kHeader);
}

TEST(PieceMessageTest, ReasonsHaveNames) {
  EXPECT_EQ(PieceRejectionName(PieceRejection::kHeader), "header");
  EXPECT_EQ(PieceRejectionName(PieceRejection::kDuplicate), "duplicate");
  EXPECT_EQ(PieceRejectionName(PieceRejection::kChecksum), "checksum");
}

}  // namespace
}  // namespace longspan
