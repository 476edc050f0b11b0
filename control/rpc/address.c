#include "control/rpc/address.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { LABEL_MAX = 63, PORT_MAX = 65535 };

#define TCP_SCHEME  "tcp://"
#define UNIX_SCHEME "unix://"

static bool has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool is_label_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

/* A host name of RFC 1123, with underscores, which containers' names have. All digits and dots is a
 * mistyped address, not a name. */
static bool is_host_name(const char *text)
{
    size_t label = 0;
    bool letter = false;
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '.') {
            if (label == 0)
                return false;
            label = 0;
            continue;
        }
        if (!is_label_char(*c) || ++label > LABEL_MAX)
            return false;
        letter = letter || *c > '9';
    }
    return letter && label > 0;
}

static int parse_unix(struct address *out, const char *text, struct err *err)
{
    const char *path = text + strlen(UNIX_SCHEME);
    if (path[0] != '/')
        return err_set(err, -EINVAL, "\"%s\": expected unix:///ABSOLUTE/PATH", text);
    if (strlen(path) >= sizeof out->path)
        return err_set(err, -EINVAL, "\"%s\": a socket's path has at most %d characters", text,
                       ADDRESS_PATH_MAX - 1);
    out->kind = ADDRESS_UNIX;
    snprintf(out->path, sizeof out->path, "%s", path);
    return 0;
}

static int parse_tcp(struct address *out, const char *text, const char *rest, bool names,
                     struct err *err)
{
    const char *whole = rest;
    const char *colon = strrchr(rest, ':');
    uint64_t port;
    if (colon == NULL || !parse_number(&port, colon + 1, 1, PORT_MAX))
        return err_set(err, -EINVAL, "\"%s\": expected tcp://%s:PORT with a port of 1 to 65535",
                       text, names ? "HOST" : "IP");
    out->kind = ADDRESS_TCP;
    out->port = (uint16_t)port;
    size_t len = (size_t)(colon - rest);
    if (len >= 2 && rest[0] == '[' && colon[-1] == ']') {
        rest++;
        len -= 2;
    }
    if (len == 0 || len >= sizeof out->host)
        return err_set(err, -EINVAL, "\"%s\": the host is missing or too long", text);
    memcpy(out->host, rest, len);
    out->host[len] = '\0';
    if (endpoint_parse(&out->endpoint, whole))
        return 0;
    out->endpoint = (union endpoint){0};
    if (!names)
        return err_set(err, -EINVAL, "\"%s\": expected tcp://IP:PORT or tcp://[IP6]:PORT", text);
    if (!is_host_name(out->host))
        return err_set(err, -EINVAL, "\"%s\": \"%s\" is neither an address nor a host name", text,
                       out->host);
    return 0;
}

int address_parse(struct address *out, const char *text, bool names, struct err *err)
{
    struct address address = {0};
    int rv;
    if (has_prefix(text, UNIX_SCHEME))
        rv = parse_unix(&address, text, err);
    else if (has_prefix(text, TCP_SCHEME))
        rv = parse_tcp(&address, text, text + strlen(TCP_SCHEME), names, err);
    else if (strstr(text, "://") != NULL)
        rv = err_set(err, -EINVAL, "\"%s\": expected tcp://... or unix:///...", text);
    else
        rv = parse_tcp(&address, text, text, names, err);
    if (rv == 0)
        *out = address;
    return rv;
}

const char *address_format(const struct address *address, char out[ADDRESS_TEXT])
{
    char endpoint[ENDPOINT_TEXT];
    switch (address->kind) {
    case ADDRESS_UNIX:
        snprintf(out, ADDRESS_TEXT, UNIX_SCHEME "%s", address->path);
        break;
    case ADDRESS_TCP:
        if (endpoint_is_set(&address->endpoint))
            snprintf(out, ADDRESS_TEXT, TCP_SCHEME "%s",
                     endpoint_format(&address->endpoint, endpoint));
        else
            snprintf(out, ADDRESS_TEXT, TCP_SCHEME "%s:%u", address->host, address->port);
        break;
    }
    return out;
}

bool address_equal(const struct address *a, const struct address *b)
{
    if (a->kind != b->kind)
        return false;
    if (a->kind == ADDRESS_UNIX)
        return strcmp(a->path, b->path) == 0;
    if (endpoint_is_set(&a->endpoint) || endpoint_is_set(&b->endpoint))
        return endpoint_equal(&a->endpoint, &b->endpoint);
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}
