// The kernel table of one instruction set; compiled once for each.
#include "kernels/cpu/attention.inc.h"
#include "kernels/cpu/elementwise.inc.h"
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/linear.inc.h"

#define LONGSPAN_STRING_OF(x) #x
#define LONGSPAN_STRING(x) LONGSPAN_STRING_OF(x)

namespace longspan::LONGSPAN_ISA {

const KernelTable& Kernels() {
  static constexpr KernelTable kTable = {
      LONGSPAN_STRING(LONGSPAN_ISA),
      kMaxTilePanels,
      Linear,
      PackActivations,
      WeightRowOfAnyFormat,
      Attention,
      Merge,
      ResidualNorm,
      Gated,
      SoftCap,
      SumParts,
  };
  return kTable;
}

}  // namespace longspan::LONGSPAN_ISA
