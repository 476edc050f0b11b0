#include "control/host/resolv_conf.h"

#include "base/buffer.h"

#include <stdio.h>
#include <string.h>

#define MARKER "# heimdall wrote this file and puts back the former one from "

enum {
    DNS_PORT = 53,
    LINE_MAX_LEN = 1024,
    SEARCH_MAX = 250, /* what every libc takes: musl drops a longer list as a whole */
};

static bool next_line(const char **text, char out[LINE_MAX_LEN])
{
    if (**text == '\0')
        return false;
    size_t len = strcspn(*text, "\n");
    size_t kept = len < LINE_MAX_LEN ? len : LINE_MAX_LEN - 1;
    memcpy(out, *text, kept);
    out[kept] = '\0';
    *text += len + ((*text)[len] == '\n');
    return true;
}

/* The value of a line that begins with the keyword, or NULL. */
static char *keyword_value(char *line, const char *keyword)
{
    size_t len = strlen(keyword);
    if (strncmp(line, keyword, len) != 0 || (line[len] != ' ' && line[len] != '\t'))
        return NULL;
    char *value = line + len + strspn(line + len, " \t");
    value[strcspn(value, "\r")] = '\0';
    return value;
}

bool resolv_conf_has_marker(const char *text)
{
    return strncmp(text, MARKER, sizeof MARKER - 1) == 0;
}

bool resolv_conf_folder(const char *text, char *out, size_t size)
{
    if (!resolv_conf_has_marker(text))
        return false;
    text += sizeof MARKER - 1;
    size_t len = strcspn(text, "\n");
    if (len >= size)
        return false;
    memcpy(out, text, len);
    out[len] = '\0';
    return true;
}

bool resolv_conf_is_ours(const char *text, const char *state_dir)
{
    size_t len = strlen(state_dir);
    if (!resolv_conf_has_marker(text))
        return false;
    text += sizeof MARKER - 1;
    return strncmp(text, state_dir, len) == 0 && text[len] == '\n';
}

static bool parse_nameserver(union endpoint *out, char *value)
{
    char whole[LINE_MAX_LEN + 8];
    value[strcspn(value, " \t#;")] = '\0';
    snprintf(whole, sizeof whole, strchr(value, ':') != NULL ? "[%s]:%d" : "%s:%d", value,
             DNS_PORT);
    return endpoint_parse(out, whole);
}

size_t resolv_conf_nameservers(const char *text, union endpoint *out, size_t max)
{
    char line[LINE_MAX_LEN];
    size_t count = 0;
    while (count < max && next_line(&text, line)) {
        char *value = keyword_value(line, "nameserver");
        if (value != NULL && parse_nameserver(&out[count], value))
            count++;
    }
    return count;
}

/* The two addresses of systemd-resolved. */
static bool is_stub(const union endpoint *server)
{
    struct ip_addr addr;
    struct ip_addr stub;
    struct ip_addr proxy;
    endpoint_addr(server, &addr);
    return ip_addr_parse(&stub, "127.0.0.53") && ip_addr_parse(&proxy, "127.0.0.54") &&
           (ip_addr_equal(&addr, &stub) || ip_addr_equal(&addr, &proxy));
}

bool resolv_conf_names_stub(const char *text)
{
    union endpoint servers[RESOLVER_NAMESERVERS];
    size_t count = resolv_conf_nameservers(text, servers, RESOLVER_NAMESERVERS);
    for (size_t i = 0; i < count; i++)
        if (is_stub(&servers[i]))
            return true;
    return false;
}

static bool is_in_setup(const struct resolver_setup *setup, const union endpoint *server)
{
    struct ip_addr addr;
    endpoint_addr(server, &addr);
    for (size_t i = 0; i < setup->nameserver_count; i++)
        if (ip_addr_equal(&addr, &setup->nameservers[i]))
            return true;
    return false;
}

static void write_nameservers(struct buffer *out, const char *former,
                              const struct resolver_setup *setup)
{
    char text[IP_ADDR_TEXT];
    char line[LINE_MAX_LEN];
    size_t count = 0;
    if (setup->stub.family != 0) {
        buffer_printf(out, "nameserver %s\n", ip_addr_format(&setup->stub, text));
        return;
    }
    for (; count < setup->nameserver_count && count < RESOLVER_NAMESERVERS; count++)
        buffer_printf(out, "nameserver %s\n", ip_addr_format(&setup->nameservers[count], text));
    while (setup->keep_former && count < RESOLVER_NAMESERVERS && next_line(&former, line)) {
        union endpoint server;
        char *value = keyword_value(line, "nameserver");
        if (value == NULL || !parse_nameserver(&server, value) || is_in_setup(setup, &server))
            continue;
        buffer_printf(out, "nameserver %s\n", value);
        count++;
    }
}

/* Of all lines "search" and "domain", the last one counts. Without any, libc searches the domain of
 * the host's own name. */
static void write_search(struct buffer *out, const char *former, const struct resolver_setup *setup)
{
    const char *domain = setup->domain;
    char line[LINE_MAX_LEN];
    char last[LINE_MAX_LEN] = "";
    if (setup->host_domain != NULL)
        snprintf(last, sizeof last, "%s", setup->host_domain);
    while (next_line(&former, line)) {
        const char *value = keyword_value(line, "search");
        if (value == NULL)
            value = keyword_value(line, "domain");
        if (value != NULL)
            memcpy(last, value, strlen(value) + 1);
    }
    size_t used = strlen(domain);
    buffer_printf(out, "search %s", domain);
    for (char *save, *word = strtok_r(last, " \t", &save); word != NULL;
         word = strtok_r(NULL, " \t", &save)) {
        used += 1 + strlen(word);
        if (strcasecmp(word, domain) == 0 || used > SEARCH_MAX)
            continue;
        buffer_printf(out, " %s", word);
    }
    buffer_append_string(out, "\n");
}

void resolv_conf_compose(struct buffer *out, const char *former, const char *state_dir,
                         const struct resolver_setup *setup)
{
    char line[LINE_MAX_LEN];
    buffer_printf(out, "%s%s\n", MARKER, state_dir);
    write_nameservers(out, former, setup);
    write_search(out, former, setup);
    while (next_line(&former, line)) {
        bool replaced = keyword_value(line, "nameserver") != NULL ||
                        keyword_value(line, "search") != NULL ||
                        keyword_value(line, "domain") != NULL || resolv_conf_has_marker(line);
        if (!replaced)
            buffer_printf(out, "%s\n", line);
    }
}
