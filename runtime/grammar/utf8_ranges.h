// Ranges of code points as bytes.
#pragma once

#include <cstdint>

#include "runtime/grammar/automaton.h"

namespace longspan {

// Adds edges for the UTF-8 of each code point from `first` to `last`, surrogates left out.
void AddUtf8Range(uint32_t first, uint32_t last, StateId from, StateId to, AutomatonBuilder* builder);

}  // namespace longspan
