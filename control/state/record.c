#include "control/state/record.h"

#include <string.h>

static const struct {
    const char *prefix;
    enum record_kind kind;
} families[] = {{RECORD_KEY_NODES, RECORD_NODE},
                {RECORD_KEY_NODENETWORKS, RECORD_NODENETWORK},
                {RECORD_KEY_PEERS, RECORD_PEER},
                {RECORD_KEY_ROUTES, RECORD_ROUTE}};

static const struct {
    const char *key;
    enum record_kind kind;
} hashes[] = {{RECORD_KEY_META, RECORD_META},
              {RECORD_KEY_AUTHORIZED, RECORD_AUTHORIZATION},
              {RECORD_KEY_PEERIPS, RECORD_PEERIP},
              {RECORD_KEY_REQUESTS, RECORD_REQUEST}};

enum record_kind record_key_parse(const char *key, const char *field, const char **name)
{
    *name = NULL;
    for (size_t i = 0; i < sizeof hashes / sizeof hashes[0]; i++)
        if (strcmp(key, hashes[i].key) == 0) {
            *name = field;
            return hashes[i].kind;
        }
    if (strcmp(key, RECORD_KEY_MASTER) == 0)
        return RECORD_MASTER;
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        size_t len = strlen(families[i].prefix);
        if (strncmp(key, families[i].prefix, len) == 0 && key[len] != '\0') {
            *name = key + len;
            return families[i].kind;
        }
    }
    return RECORD_UNKNOWN;
}
