// Fails on rank 1 alone, on purpose: tests/harness/mpi_main_test checks that the run as a whole fails.

#include <gtest/gtest.h>
#include <mpi.h>

namespace longspan {
namespace {

TEST(OneRankFailsTest, FailsOnRankOne) {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  EXPECT_NE(rank, 1);
}

TEST(OneRankFailsTest, PassesEverywhere) {
  int size = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  EXPECT_EQ(size, 2);
}

}  // namespace
}  // namespace longspan
