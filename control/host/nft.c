#include "control/host/nft.h"

#include "control/host/tool.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The table, as nft prints it (the drop is missing with peer_to_peer):
 *
 *   table inet heimdall {
 *       chain forward { type filter hook forward priority filter; policy accept;
 *           iifname TUNNEL oifname TUNNEL ip saddr PEERS ip daddr PEERS drop
 *           iifname != TUNNEL oifname TUNNEL ct state established,related accept
 *           iifname != TUNNEL oifname TUNNEL ip saddr INBOUND fib saddr . iif oif exists accept
 *           iifname != TUNNEL oifname TUNNEL drop
 *       }
 *       chain spoofed { type filter hook prerouting priority filter; policy accept;
 *           iifname != TUNNEL ip saddr OVERLAY fib saddr oifname TUNNEL drop
 *       }
 *       chain mss { type filter hook forward priority mangle; policy accept;
 *           oifname TUNNEL tcp flags syn tcp option maxseg size set rt mtu
 *           iifname TUNNEL tcp flags syn tcp option maxseg size set rt mtu
 *       }
 *       chain postrouting { type nat hook postrouting priority srcnat; policy accept;
 *           oifname INTERFACE ip saddr OVERLAY masquerade
 *       }
 *   }
 *
 * The last three keep what comes from outside out of the overlay, unless it is an answer, or comes
 * from a network that may open connections, by the interface that leads back there.
 *
 * "spoofed" does the same for what the node itself would answer into the tunnel. An own network of
 * the host inside the overlay is not meant: its route leads elsewhere.
 *
 * An "accept" here cannot overrule a "drop" of another table. */

enum {
    PRIORITY_MANGLE = -150,
    PRIORITY_FILTER = 0,
    PRIORITY_SRCNAT = 100,
    NAME_MAX_LEN = 64,
    ERROR_LEN = 256,
};

/* ---- JSON: a failed allocation leaves a NULL, which cJSON takes and script_print notices */

struct script {
    cJSON *root;
    cJSON *commands; /* in the root */
    const struct nft_config *config;
    bool failed;
};

static void put(struct script *script, cJSON *object, const char *key, cJSON *value)
{
    if (value == NULL || !cJSON_AddItemToObject(object, key, value)) {
        cJSON_Delete(value);
        script->failed = true;
    }
}

static void put_string(struct script *script, cJSON *object, const char *key, const char *value)
{
    put(script, object, key, cJSON_CreateString(value));
}

static void append(struct script *script, cJSON *array, cJSON *value)
{
    if (value == NULL || !cJSON_AddItemToArray(array, value)) {
        cJSON_Delete(value);
        script->failed = true;
    }
}

/* {KEY: VALUE}. Owns the value from here. */
static cJSON *wrap(struct script *script, const char *key, cJSON *value)
{
    cJSON *object = cJSON_CreateObject();
    put(script, object, key, value);
    return object;
}

/* {VERB: {KIND: OBJECT}}, with the family and table that every object has. */
static void command(struct script *script, const char *verb, const char *kind, cJSON *object)
{
    put_string(script, object, "family", "inet");
    if (strcmp(kind, "table") != 0)
        put_string(script, object, "table", script->config->table);
    append(script, script->commands, wrap(script, verb, wrap(script, kind, object)));
}

static void table_command(struct script *script, const char *verb)
{
    cJSON *table = cJSON_CreateObject();
    put_string(script, table, "name", script->config->table);
    command(script, verb, "table", table);
}

static void add_chain(struct script *script, const char *name, const char *type, const char *hook,
                      int priority)
{
    cJSON *chain = cJSON_CreateObject();
    put_string(script, chain, "name", name);
    put_string(script, chain, "type", type);
    put_string(script, chain, "hook", hook);
    put(script, chain, "prio", cJSON_CreateNumber(priority));
    put_string(script, chain, "policy", "accept");
    command(script, "add", "chain", chain);
}

/* Owns the expressions from here. */
static void add_rule(struct script *script, const char *chain, cJSON *expr)
{
    cJSON *rule = cJSON_CreateObject();
    put_string(script, rule, "chain", chain);
    put(script, rule, "expr", expr);
    command(script, "add", "rule", rule);
}

/* Owns both sides from here. */
static cJSON *match(struct script *script, const char *op, cJSON *left, cJSON *right)
{
    cJSON *object = cJSON_CreateObject();
    put_string(script, object, "op", op);
    put(script, object, "left", left);
    put(script, object, "right", right);
    return wrap(script, "match", object);
}

/* `key` is iifname or oifname. */
static cJSON *match_interface(struct script *script, const char *op, const char *key,
                              const char *name)
{
    cJSON *meta = wrap(script, "meta", wrap(script, "key", cJSON_CreateString(key)));
    return match(script, op, meta, cJSON_CreateString(name));
}

static cJSON *payload(struct script *script, const char *protocol, const char *field)
{
    cJSON *object = cJSON_CreateObject();
    put_string(script, object, "protocol", protocol);
    put_string(script, object, "field", field);
    return wrap(script, "payload", object);
}

/* `field` is saddr or daddr. */
static cJSON *match_prefix(struct script *script, const char *field, const struct ip_prefix *prefix)
{
    struct ip_prefix masked = *prefix;
    char text[IP_ADDR_TEXT];
    ip_prefix_mask(&masked);
    cJSON *value = cJSON_CreateObject();
    put_string(script, value, "addr", ip_addr_format(&masked.addr, text));
    put(script, value, "len", cJSON_CreateNumber(masked.len));
    return match(script, "==", payload(script, masked.addr.family == 4 ? "ip" : "ip6", field),
                 wrap(script, "prefix", value));
}

static cJSON *verdict(struct script *script, const char *name)
{
    return wrap(script, name, cJSON_CreateNull());
}

/* ---- the rules */

static void add_forward(struct script *script)
{
    const struct nft_config *config = script->config;
    add_chain(script, "forward", "filter", "forward", PRIORITY_FILTER);
    for (size_t i = 0; i < config->peer_network_count && !config->peer_to_peer; i++) {
        const struct ip_prefix *from = &config->peer_networks[i];
        for (size_t j = 0; j < config->peer_network_count; j++) {
            const struct ip_prefix *to = &config->peer_networks[j];
            if (from->addr.family != to->addr.family)
                continue;
            cJSON *expr = cJSON_CreateArray();
            append(script, expr, match_interface(script, "==", "iifname", config->tunnel));
            append(script, expr, match_interface(script, "==", "oifname", config->tunnel));
            append(script, expr, match_prefix(script, "saddr", from));
            append(script, expr, match_prefix(script, "daddr", to));
            append(script, expr, verdict(script, "drop"));
            add_rule(script, "forward", expr);
        }
    }
}

/* The beginning of a rule for what enters the tunnel from outside. */
static cJSON *from_outside(struct script *script)
{
    cJSON *expr = cJSON_CreateArray();
    append(script, expr, match_interface(script, "!=", "iifname", script->config->tunnel));
    append(script, expr, match_interface(script, "==", "oifname", script->config->tunnel));
    return expr;
}

static cJSON *array_of(struct script *script, const char *first, const char *second)
{
    cJSON *array = cJSON_CreateArray();
    append(script, array, cJSON_CreateString(first));
    append(script, array, cJSON_CreateString(second));
    return array;
}

/* The result of a look-up of the route to the source. Owns the flags from here. */
static cJSON *route_back(struct script *script, const char *result, cJSON *flags)
{
    cJSON *fib = cJSON_CreateObject();
    put_string(script, fib, "result", result);
    put(script, fib, "flags", flags);
    return wrap(script, "fib", fib);
}

/* A forged source address fails this: the route back leads elsewhere. */
static cJSON *match_route_back(struct script *script)
{
    return match(script, "==", route_back(script, "oif", array_of(script, "saddr", "iif")),
                 cJSON_CreateTrue());
}

static void add_spoofed(struct script *script)
{
    const struct nft_config *config = script->config;
    add_chain(script, "spoofed", "filter", "prerouting", PRIORITY_FILTER);
    for (size_t i = 0; i < config->overlay_count; i++) {
        cJSON *expr = cJSON_CreateArray();
        cJSON *flags = cJSON_CreateArray();
        append(script, flags, cJSON_CreateString("saddr"));
        append(script, expr, match_interface(script, "!=", "iifname", config->tunnel));
        append(script, expr, match_prefix(script, "saddr", &config->overlays[i]));
        append(script, expr,
               match(script, "==", route_back(script, "oifname", flags),
                     cJSON_CreateString(config->tunnel)));
        append(script, expr, verdict(script, "drop"));
        add_rule(script, "spoofed", expr);
    }
}

static void add_inbound(struct script *script)
{
    const struct nft_config *config = script->config;
    cJSON *expr = from_outside(script);
    append(script, expr,
           match(script, "in", wrap(script, "ct", wrap(script, "key", cJSON_CreateString("state"))),
                 array_of(script, "established", "related")));
    append(script, expr, verdict(script, "accept"));
    add_rule(script, "forward", expr);
    for (size_t i = 0; i < config->inbound_count; i++) {
        expr = from_outside(script);
        append(script, expr, match_prefix(script, "saddr", &config->inbound[i]));
        append(script, expr, match_route_back(script));
        append(script, expr, verdict(script, "accept"));
        add_rule(script, "forward", expr);
    }
    expr = from_outside(script);
    append(script, expr, verdict(script, "drop"));
    add_rule(script, "forward", expr);
}

/* `key` is as in match_interface. Both directions need the rule, because either side may open a
 * connection and the narrower of the two routes counts. */
static void add_mss_rule(struct script *script, const char *key)
{
    cJSON *expr = cJSON_CreateArray();
    cJSON *option = cJSON_CreateObject();
    cJSON *mangle = cJSON_CreateObject();
    append(script, expr, match_interface(script, "==", key, script->config->tunnel));
    append(script, expr,
           match(script, "in", payload(script, "tcp", "flags"), cJSON_CreateString("syn")));
    put_string(script, option, "name", "maxseg");
    put_string(script, option, "field", "size");
    put(script, mangle, "key", wrap(script, "tcp option", option));
    put(script, mangle, "value",
        wrap(script, "rt", wrap(script, "key", cJSON_CreateString("mtu"))));
    append(script, expr, wrap(script, "mangle", mangle));
    add_rule(script, "mss", expr);
}

static void add_mss(struct script *script)
{
    add_chain(script, "mss", "filter", "forward", PRIORITY_MANGLE);
    add_mss_rule(script, "oifname");
    add_mss_rule(script, "iifname");
}

static void add_postrouting(struct script *script)
{
    const struct nft_config *config = script->config;
    add_chain(script, "postrouting", "nat", "postrouting", PRIORITY_SRCNAT);
    for (size_t i = 0; i < config->overlay_count; i++) {
        cJSON *expr = cJSON_CreateArray();
        if (config->interface != NULL) {
            append(script, expr, match_interface(script, "==", "oifname", config->interface));
        } else { /* traffic of the node to itself keeps its address */
            append(script, expr, match_interface(script, "!=", "oifname", config->tunnel));
            append(script, expr, match_interface(script, "!=", "oifname", "lo"));
        }
        append(script, expr, match_prefix(script, "saddr", &config->overlays[i]));
        append(script, expr, verdict(script, "masquerade"));
        add_rule(script, "postrouting", expr);
    }
}

/* ---- the program */

/* The first line of nft's own message. */
static int explain(struct err *err, char text[ERROR_LEN])
{
    text[strcspn(text, "\n")] = '\0';
    if (strstr(text, "Operation not permitted") != NULL ||
        strstr(text, "Permission denied") != NULL)
        return err_set(err, -EPERM,
                       "nft may not change the firewall: start the container with `--cap-add "
                       "NET_ADMIN`, or run as root");
    if (text[0] == '\0')
        return err_set(err, -EIO, "nft failed without saying why");
    return err_set(err, -EIO, "nft refused the rules: %s", text);
}

int nft_load(const char *json, struct err *err)
{
    static char *const argv[] = {"nft", "-j", "-f", "-", NULL};
    char text[ERROR_LEN];
    int rc = tool_run("nft", argv, json, text, sizeof text);
    if (rc == -ENOENT)
        return err_set(err, rc, "nft is missing: install the package nftables");
    if (rc == -ETIMEDOUT)
        return err_set(err, rc, "nft did not end within 5 s");
    if (rc < 0)
        return err_set_errno(err, rc, "cannot run nft");
    return rc == 0 ? 0 : explain(err, text);
}

/* ---- the calls */

static bool table_valid(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len > NAME_MAX_LEN || isdigit((unsigned char)name[0]))
        return false;
    for (; *name != '\0'; name++)
        if (!isalnum((unsigned char)*name) && strchr("_-./", *name) == NULL)
            return false;
    return true;
}

/* A trailing star would match other interfaces too. */
static bool interface_valid(const char *name)
{
    return name == NULL || (name[0] != '\0' && strchr(name, '*') == NULL);
}

/* "add" first, so that "delete" always finds it: one transaction either way. */
static void script_init(struct script *script, const struct nft_config *config)
{
    *script = (struct script){.root = cJSON_CreateObject(), .config = config};
    script->commands = cJSON_CreateArray();
    if (script->commands == NULL ||
        !cJSON_AddItemToObject(script->root, "nftables", script->commands)) {
        cJSON_Delete(script->commands);
        script->commands = NULL;
        script->failed = true;
    }
    table_command(script, "add");
    table_command(script, "delete");
}

/* Ends the script; NULL with a text when memory was short. */
static char *script_print(struct script *script, struct err *err)
{
    char *json = script->failed ? NULL : cJSON_PrintUnformatted(script->root);
    if (json == NULL)
        err_set_errno(err, -ENOMEM, "cannot write the firewall's rules");
    cJSON_Delete(script->root);
    return json;
}

int nft_compose(const struct nft_config *config, char **out, struct err *err)
{
    struct script script;
    *out = NULL;
    if (!table_valid(config->table) || config->tunnel == NULL || !interface_valid(config->tunnel) ||
        !interface_valid(config->interface))
        return err_set(err, -EINVAL, "the firewall cannot name table \"%.64s\" or interface \"%s\"",
                       config->table, config->tunnel != NULL ? config->tunnel : "");
    script_init(&script, config);
    table_command(&script, "add");
    add_forward(&script);
    add_inbound(&script);
    add_spoofed(&script);
    if (config->clamp_mss)
        add_mss(&script);
    add_postrouting(&script);
    *out = script_print(&script, err);
    return *out != NULL ? 0 : -ENOMEM;
}

int nft_compose_removal(const char *table, char **out, struct err *err)
{
    struct script script;
    struct nft_config config = {.table = table};
    *out = NULL;
    if (!table_valid(table))
        return err_set(err, -EINVAL, "the firewall cannot name table \"%.64s\"", table);
    script_init(&script, &config);
    *out = script_print(&script, err);
    return *out != NULL ? 0 : -ENOMEM;
}

void nft_free(char *json)
{
    cJSON_free(json);
}

int nft_apply(const struct nft_config *config, struct err *err)
{
    char *json = NULL;
    int rc = nft_compose(config, &json, err);
    if (rc == 0)
        rc = nft_load(json, err);
    nft_free(json);
    return rc;
}

int nft_remove(const char *table, struct err *err)
{
    char *json = NULL;
    int rc = nft_compose_removal(table, &json, err);
    if (rc == 0)
        rc = nft_load(json, err);
    nft_free(json);
    return rc;
}
