// JSON texts put together piece by piece, for answers that are sent for each token.
#pragma once

#include <string>
#include <string_view>

namespace longspan {

// Appends a JSON string in its quotes. What is not UTF-8 becomes U+FFFD.
void AppendJsonString(std::string_view text, std::string* out);
std::string JsonString(std::string_view text);

// The shortest number that reads back as the same double; of what JSON has no number for, 0.
void AppendJsonNumber(double number, std::string* out);

}  // namespace longspan
