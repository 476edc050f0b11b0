#ifndef TESTS_WG_MEMORY_SCAN_H
#define TESTS_WG_MEMORY_SCAN_H

#include <stddef.h>
#include <stdint.h>

enum { SECRET_LEN = 32 };

/* A secret to search for. It is kept masked, so that the search does not find itself. */
struct secret {
    const char *name;
    uint8_t masked[SECRET_LEN];
};

void secret_note(struct secret *secret, const char *name, const uint8_t bytes[SECRET_LEN]);

/* Counts the secret in the memory of this process: every readable mapping, at every address. */
size_t secret_count(const struct secret *secret);

#endif
