#include "comm/mpi_environment.h"

#include <gtest/gtest.h>
#include <mpi.h>

namespace longspan {
namespace {

TEST(MpiEnvironmentTest, DescribesTheJobAndLeavesItToItsOwner) {
  int rank = -1, size = -1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  {
    absl::StatusOr<std::unique_ptr<MpiEnvironment>> environment = MpiEnvironment::Create();
    ASSERT_TRUE(environment.ok()) << environment.status();
    EXPECT_EQ((*environment)->rank(), rank);
    EXPECT_EQ((*environment)->size(), size);
    EXPECT_FALSE((*environment)->host().empty());
  }
  int finalized = 1;
  MPI_Finalized(&finalized);
  EXPECT_FALSE(finalized);
}

}  // namespace
}  // namespace longspan
