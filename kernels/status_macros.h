// Early return on an absl::Status that is not OK.
#pragma once

#include <utility>

#define LONGSPAN_STATUS_JOIN_(a, b) a##b
#define LONGSPAN_STATUS_NAME_(a, b) LONGSPAN_STATUS_JOIN_(a, b)

// Evaluates an expression of type absl::Status once and returns it when it is an error.
#define LONGSPAN_RETURN_IF_ERROR(expression)          \
  do {                                                \
    if (auto status_ = (expression); !status_.ok()) { \
      return status_;                                 \
    }                                                 \
  } while (0)

// Evaluates an expression of type absl::StatusOr<T> once; returns its error, or moves its value into
// `target`, which may be a declaration: LONGSPAN_ASSIGN_OR_RETURN(auto file, Open(path));
#define LONGSPAN_ASSIGN_OR_RETURN(target, expression) \
  LONGSPAN_ASSIGN_OR_RETURN_(LONGSPAN_STATUS_NAME_(status_or_, __LINE__), target, expression)
#define LONGSPAN_ASSIGN_OR_RETURN_(name, target, expression) \
  auto name = (expression);                                  \
  if (!name.ok()) {                                          \
    return name.status();                                    \
  }                                                          \
  target = *std::move(name)
