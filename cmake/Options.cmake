# Flags that every target shares. Contraction is off because the order and the rounding of every
# floating-point operation is part of the numerics: fused multiply-adds are written where they are meant.
add_library(longspan_options INTERFACE)
target_include_directories(longspan_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(longspan_options INTERFACE -Wall -Wextra -Wno-unused-parameter -ffp-contract=off)
if(LONGSPAN_SANITIZE)
  target_compile_options(longspan_options INTERFACE
    -O1 -g1 -fsanitize=${LONGSPAN_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
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
