#include "control/config/config_kinds.h"

#include "base/addr.h"
#include "base/ifname.h"
#include "control/config/config.h"
#include "control/state/access.h"

#include <string.h>

static bool parse_label(void *out, const char *text)
{
    char name[ACCESS_NAME_MAX + 1];
    *(const char **)out = text;
    return access_check_name(text, name, NULL) == 0;
}

static bool parse_interface(void *out, const char *text)
{
    *(const char **)out = text;
    return ifname_is_valid(text) && !ifname_is_reserved(text);
}

static bool parse_host_interface(void *out, const char *text)
{
    *(const char **)out = text;
    return ifname_is_valid(text);
}

static bool parse_domain(void *out, const char *text)
{
    char label[ACCESS_NAME_MAX + 1];
    char name[ACCESS_NAME_MAX + 1];
    *(const char **)out = text;
    if (strlen(text) > 200)
        return false;
    for (;;) {
        size_t len = strcspn(text, ".");
        if (len == 0 || len >= sizeof label)
            return false;
        memcpy(label, text, len);
        label[len] = '\0';
        if (access_check_name(label, name, NULL) != 0)
            return false;
        if (text[len] == '\0')
            return true;
        text += len + 1;
    }
}

/* Networks that hosts and their kernels keep for themselves: an overlay there reaches nobody. */
static bool is_reserved(const struct ip_prefix *network)
{
    static const char *const reserved[] = {"0.0.0.0/8",   "127.0.0.0/8", "169.254.0.0/16",
                                           "224.0.0.0/3", "::/8",        "fe80::/10",
                                           "ff00::/8"};
    struct ip_prefix prefix;
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        if (ip_prefix_parse(&prefix, reserved[i]) && ip_prefix_overlaps(&prefix, network))
            return true;
    return false;
}

static bool parse_network4(void *out, const char *text)
{
    struct ip_prefix *prefix = out;
    return strchr(text, '/') != NULL && ip_prefix_parse(prefix, text) && prefix->addr.family == 4 &&
           ip_prefix_is_masked(prefix) && prefix->len >= 8 && prefix->len <= 24 &&
           !is_reserved(prefix);
}

static bool parse_node_network(void *out, const char *text)
{
    const struct ip_prefix *prefix = out;
    return parse_network4(out, text) && prefix->len > 8; /* the nodes' networks follow it */
}

static bool parse_network6(void *out, const char *text)
{
    struct overlay6_option *option = out;
    struct ip_prefix *prefix = &option->prefix;
    if (strcmp(text, "none") == 0) {
        option->mode = OVERLAY6_NONE;
        return true;
    }
    option->mode = OVERLAY6_GIVEN;
    return strchr(text, '/') != NULL && ip_prefix_parse(prefix, text) && prefix->addr.family == 6 &&
           ip_prefix_is_masked(prefix) && prefix->len >= 16 && prefix->len <= 64 &&
           !is_reserved(prefix);
}

/* Whether an address can be one host's: not "any", and no multicast group. */
static bool is_of_a_host(const struct ip_addr *addr)
{
    static const uint8_t any[16];
    bool is_group = addr->family == 4 ? addr->bytes[0] >= 224 : addr->bytes[0] == 0xff;
    return !is_group && memcmp(addr->bytes, any, ip_addr_len(addr)) != 0;
}

static bool parse_ip(void *out, const char *text)
{
    return ip_addr_parse(out, text) && is_of_a_host(out);
}

static bool parse_endpoint(void *out, const char *text)
{
    return endpoint_parse(out, text) && endpoint_port(out) != 0;
}

/* "IP:PORT", or an address alone, which means port 53. */
static bool parse_dns_endpoint(void *out, const char *text)
{
    struct ip_addr addr;
    if (endpoint_parse(out, text))
        return true;
    if (!ip_addr_parse(&addr, text))
        return false;
    endpoint_from_addr(out, &addr, 53);
    return true;
}

static bool parse_dns_list(void *out, const char *text)
{
    struct option_list *list = out;
    size_t before = list->count;
    union endpoint endpoint;
    if (!option_list.parse(out, text))
        return false;
    for (size_t i = before; i < list->count; i++)
        if (!parse_dns_endpoint(&endpoint, list->values[i]))
            return false;
    return true;
}

static bool parse_log_format(void *out, const char *text)
{
    *(bool *)out = strcmp(text, "json") == 0;
    return *(bool *)out || strcmp(text, "text") == 0;
}

static bool parse_output(void *out, const char *text)
{
    *(bool *)out = strcmp(text, "json") == 0;
    return *(bool *)out || strcmp(text, "table") == 0;
}

/* "tcp://IP:PORT", "tcp://NAME:PORT" or "unix:///PATH": an address to connect to. */
static bool parse_grpc_address(void *out, const char *text)
{
    union endpoint endpoint;
    uint64_t port;
    *(const char **)out = text;
    if (strncmp(text, "unix://", 7) == 0)
        return text[7] == '/';
    if (strncmp(text, "tcp://", 6) != 0)
        return false;
    text += 6;
    const char *colon = strrchr(text, ':');
    if (endpoint_parse(&endpoint, text))
        return true;
    return colon != NULL && colon != text && strspn(text, "[]:") == 0 &&
           memchr(text, ':', (size_t)(colon - text)) == NULL &&
           parse_number(&port, colon + 1, 1, UINT16_MAX);
}

static bool parse_listen_address(void *out, const char *text)
{
    union endpoint endpoint;
    *(const char **)out = text;
    return strncmp(text, "tcp://", 6) == 0 && endpoint_parse(&endpoint, text + 6);
}

static bool parse_advertised(void *out, const char *text)
{
    union endpoint endpoint;
    struct ip_addr addr;
    if (!parse_listen_address(out, text) || !endpoint_parse(&endpoint, text + 6))
        return false;
    endpoint_addr(&endpoint, &addr);
    return is_of_a_host(&addr);
}

static bool parse_grpc_list(void *out, const char *text)
{
    struct option_list *list = out;
    size_t before = list->count;
    const char *checked;
    if (!option_list.parse(out, text))
        return false;
    for (size_t i = before; i < list->count; i++)
        if (!parse_grpc_address(&checked, list->values[i]))
            return false;
    return true;
}

static bool parse_secret(void *out, const char *text)
{
    *(const char **)out = text;
    return access_check_id(text, "", NULL) == 0;
}

static bool parse_secrets(void *out, const char *text)
{
    struct option_list *list = out;
    size_t before = list->count;
    if (!option_list.parse(out, text))
        return false;
    for (size_t i = before; i < list->count; i++)
        if (access_check_id(list->values[i], "", NULL) < 0)
            return false;
    return true;
}

const struct option_kind kind_label = {
    "NAME", "a DNS label: letters, digits and inner hyphens, at most 63 characters", false, false,
    parse_label};
const struct option_kind kind_interface = {
    "NAME", "an interface name of 1 to 15 characters, none that the kernel reserves", false, false,
    parse_interface};
const struct option_kind kind_host_interface = {"NAME", "the name of an interface of this host",
                                                false, false, parse_host_interface};
const struct option_kind kind_domain = {"DOMAIN", "a domain name without a trailing dot", false,
                                        false, parse_domain};
const struct option_kind kind_network4 = {
    "CIDR", "an IPv4 CIDR as 10.10.0.0/16, /8 to /24, no bits set behind the length, not reserved",
    false, false, parse_network4};
const struct option_kind kind_node_network = {
    "CIDR", "an IPv4 CIDR as 10.10.0.0/16, /9 to /24, no bits set behind the length, not reserved",
    false, false, parse_node_network};
const struct option_kind kind_network6 = {
    "CIDR",
    "an IPv6 CIDR as fd00:1::/48, /16 to /64, no bits set behind the length, not reserved, or none",
    false, false, parse_network6};
const struct option_kind kind_ip = {"IP", "an IP address of a host", false, false, parse_ip};
const struct option_kind kind_dns_endpoint = {"IP:PORT", "an address, as 10.11.0.1:53", false,
                                              false, parse_dns_endpoint};
const struct option_kind kind_metrics = {"IP:PORT", "an address and a port, as 127.0.0.1:9100",
                                         false, false, parse_endpoint};
const struct option_kind kind_dns_list = {"IP:PORT", "an address, as 8.8.8.8:53", true, false,
                                          parse_dns_list};
const struct option_kind kind_log_format = {"FORMAT", "text or json", false, false,
                                            parse_log_format};
const struct option_kind kind_grpc_address = {"ADDRESS",
                                              "an address as tcp://192.0.2.1:9000 or unix:///path",
                                              false, false, parse_grpc_address};
const struct option_kind kind_listen_address = {"ADDRESS", "an address as tcp://192.0.2.1:9000",
                                                false, false, parse_listen_address};
const struct option_kind kind_advertised = {
    "ADDRESS", "an address of a host as tcp://192.0.2.1:9000", false, false, parse_advertised};
const struct option_kind kind_grpc_list = {"ADDRESS", "an address as tcp://192.0.2.1:9000", true,
                                           false, parse_grpc_list};
const struct option_kind option_output = {"FORMAT", "table or json", false, false, parse_output};

const struct option_kind kind_secret = {"SECRET", "at least 96 random bits, as uuidgen makes them",
                                        false, true, parse_secret};
const struct option_kind kind_secrets = {"ID", "at least 96 random bits, as uuidgen makes them",
                                         true, true, parse_secrets};
