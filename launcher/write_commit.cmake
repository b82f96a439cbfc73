# Runs with every build, so that the commit is the one that was built. Expects SOURCE_DIR, INPUT and OUTPUT.
execute_process(COMMAND git describe --always --dirty --tags
  WORKING_DIRECTORY ${SOURCE_DIR} OUTPUT_VARIABLE LONGSPAN_COMMIT OUTPUT_STRIP_TRAILING_WHITESPACE
  ERROR_QUIET RESULT_VARIABLE failed)
if(failed OR NOT LONGSPAN_COMMIT)
  set(LONGSPAN_COMMIT unknown)
endif()
# Leaves the file alone when the commit is the same, so that nothing is rebuilt.
configure_file(${INPUT} ${OUTPUT} @ONLY)
