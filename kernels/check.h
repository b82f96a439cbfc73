// CHECK for our own bugs: prints the condition and the place, then aborts. Errors of the outside world
// (files, options, peers, requests) are absl::Status instead.
#pragma once

#include <cstdio>
#include <cstdlib>

#define LONGSPAN_CHECK(condition)                                                        \
  do {                                                                                   \
    if (!(condition)) {                                                                  \
      std::fprintf(stderr, "%s:%d: check failed: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                      \
    }                                                                                    \
  } while (0)
