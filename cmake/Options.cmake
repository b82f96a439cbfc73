# Flags that every target shares. Contraction is off because the order and the rounding of every
# floating-point operation is part of the numerics: fused multiply-adds are written where they are meant.
add_library(longspan_options INTERFACE)
target_include_directories(longspan_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(longspan_options INTERFACE -Wall -Wextra -Wno-unused-parameter -ffp-contract=off)
if(LONGSPAN_SANITIZE)
  set(sanitizer_options -O1 -g1 -fsanitize=${LONGSPAN_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND LONGSPAN_SANITIZE MATCHES "address,undefined")
    # Saves a third of the time to compile: undefined behaviour ends in SIGILL, of which the address sanitizer shows where
    # it was, and accesses are checked by calls but in the folders where most time is spent.
    set(folder "$<TARGET_PROPERTY:SOURCE_DIR>")
    set(is_fast "$<OR:$<STREQUAL:${folder},${PROJECT_SOURCE_DIR}/kernels>,$<STREQUAL:${folder},${PROJECT_SOURCE_DIR}/comm>>")
    list(APPEND sanitizer_options -fsanitize-undefined-trap-on-error
      "$<$<NOT:${is_fast}>:SHELL:--param asan-instrumentation-with-call-threshold=0>")
  endif()
  # Targets with the property LONGSPAN_AS_WITHOUT_SANITIZER are compiled exactly as without: ccache has them then.
  target_compile_options(longspan_options INTERFACE
    "$<$<NOT:$<BOOL:$<TARGET_PROPERTY:LONGSPAN_AS_WITHOUT_SANITIZER>>>:${sanitizer_options}>")
  target_link_options(longspan_options INTERFACE -fsanitize=${LONGSPAN_SANITIZE})
endif()
find_program(LONGSPAN_MOLD mold)
if(LONGSPAN_MOLD)
  target_link_options(longspan_options INTERFACE -fuse-ld=mold)
endif()

# For a target whose large headers take longer to optimise, under a sanitizer, than its tests take to run without.
function(longspan_compile_quickly target)
  if(LONGSPAN_SANITIZE)
    get_target_property(sources ${target} SOURCES)
    set_source_files_properties(${sources} PROPERTIES COMPILE_OPTIONS -O0)
  endif()
endfunction()
