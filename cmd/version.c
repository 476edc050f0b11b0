#include "cmd/version.h"

#include "cmd/commit.h" /* written by commit.cmake */

const char version_text[] = HEIMDALL_VERSION HEIMDALL_COMMIT_SUFFIX;
