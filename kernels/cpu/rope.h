// Biases, query and key normalisation, rotary embedding, and the write of keys and values to their pages.
#pragma once

#include "kernels/backend.h"
#include "kernels/cpu/kernel_table.h"

namespace longspan {

// Rows [begin, end) of the batch. May be called by several threads on disjoint ranges.
void RopeAppendRows(const RopeAppendArgs& args, const KernelTable& kernels, int64_t begin, int64_t end);

}  // namespace longspan
