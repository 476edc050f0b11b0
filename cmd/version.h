#ifndef CMD_VERSION_H
#define CMD_VERSION_H

/* "0.2.0 (commit 1f2e3d4c5b6a)" as --version shows it; without the commit where the build knew none. */
extern const char version_text[];

#endif
