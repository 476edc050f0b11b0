# Writes OUT, a header that defines HEIMDALL_COMMIT_SUFFIX: " (commit X)" with what `git describe` says of the checkout SOURCE,
# "" outside of a checkout or without git. An unchanged file is left alone, so that nothing is rebuilt. Every build runs this.
set(suffix "")
if(EXISTS ${SOURCE}/.git) # or git would describe the repository that a release is unpacked in
  foreach(variable GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE)
    unset(ENV{${variable}})
  endforeach()
  execute_process(COMMAND git --no-optional-locks describe --always --dirty --abbrev=12
    WORKING_DIRECTORY ${SOURCE} OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE status)
  if(status EQUAL 0 AND commit MATCHES "^[A-Za-z0-9._/+-]+$")
    set(suffix " (commit ${commit})")
  endif()
endif()
file(CONFIGURE OUTPUT ${OUT} CONTENT "#define HEIMDALL_COMMIT_SUFFIX \"${suffix}\"\n")
