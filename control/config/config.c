#include "control/config/config.h"

#include "base/log.h"
#include "dns/upstream.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Takes the values that the command line did not give from the environment, the file and the defaults. */
static bool complete(const struct option_set *set, struct config_sources *sources,
                     const char *fallback_path, struct err *err)
{
    if (!options_from_environment(set, err))
        return false;
    bool optional = sources->path == NULL;
    if (!option_file_read(&sources->file, set, optional ? fallback_path : sources->path, optional,
                          err))
        return false;
    options_fall_back(set);
    return true;
}

/* Reads everything, for programs that take options alone. */
static enum options_outcome read_all(const struct option_set *set, struct config_sources *sources,
                                     const char *fallback_path, int argc, char **argv,
                                     struct err *err)
{
    int next = 1;
    sources->argc = argc;
    sources->argv = argv;
    enum options_outcome outcome = options_parse(set, 1, argc, argv, &next, true, err);
    if (outcome != OPTIONS_OK)
        return outcome;
    if (next == argc)
        return complete(set, sources, fallback_path, err) ? OPTIONS_OK : OPTIONS_BAD;
    err_set(err, -EINVAL, "unexpected argument \"%s\": --help lists the options", argv[next]);
    return OPTIONS_BAD;
}

static bool check_tls(const struct tls_options *tls, struct err *err)
{
    if (tls->skip_verify) {
        err_set(err, -EINVAL,
                "option --skip-verify: refused, the other side always proves who it is: with "
                "--cert, --key and --ca, or without certificates by the shared secret");
        return false;
    }
    bool given = tls->cert != NULL;
    if (given == (tls->key != NULL) && given == (tls->ca != NULL))
        return true;
    err_set(err, -EINVAL, "options --cert, --key and --ca: expects all three or none of them");
    return false;
}

static bool check_upstream(const struct node_config *config, struct err *err)
{
    if (config->dns_upstream.count > UPSTREAM_SERVERS_MAX) {
        err_set(err, -EINVAL, "option --dns-upstream-address: expects at most %d of them",
                UPSTREAM_SERVERS_MAX);
        return false;
    }
    if (config->dns_upstream_tls != NULL && config->dns_upstream.count == 0) {
        err_set(err, -EINVAL,
                "option --dns-upstream-tls: expects --dns-upstream-address, whose certificate has "
                "the name");
        return false;
    }
    return true;
}

/* Checks what takes more than one option to see. */
static bool check_node(const struct node_config *config, struct err *err)
{
    char text[IP_PREFIX_TEXT];
    if (ip_prefix_overlaps(&config->node_network, &config->peer_network)) {
        ip_prefix_format(&config->node_network, text);
        err_set(err, -EINVAL,
                "option --peer-network: expects a network apart from --node-network %s", text);
        return false;
    }
    if (config->node_network6.mode == OVERLAY6_GIVEN &&
        config->peer_network6.mode == OVERLAY6_GIVEN &&
        ip_prefix_overlaps(&config->node_network6.prefix, &config->peer_network6.prefix)) {
        ip_prefix_format(&config->node_network6.prefix, text);
        err_set(err, -EINVAL,
                "option --peer-network6: expects a network apart from --node-network6 %s", text);
        return false;
    }
    if ((config->node_network6.mode == OVERLAY6_GIVEN &&
         config->peer_network6.mode == OVERLAY6_NONE) ||
        (config->node_network6.mode == OVERLAY6_NONE &&
         config->peer_network6.mode == OVERLAY6_GIVEN)) {
        err_set(err, -EINVAL,
                "options --node-network6 and --peer-network6: expects a network for both, or none "
                "for either");
        return false;
    }
    if (config->cluster_key != NULL && config->cluster_key_file != NULL) {
        err_set(err, -EINVAL,
                "options --cluster-key and --cluster-key-file: expects only one of them");
        return false;
    }
    if (config->peers.count > 0) {
        /* A start without the other node would make a second network with the same addresses. */
        err_set(err, -EINVAL, "option --peer: joining another node is not in this version");
        return false;
    }
    if (config->client_cert != NULL || config->client_key != NULL) {
        err_set(err, -EINVAL,
                "option --client-%s: for joining another node, which is not in this version",
                config->client_cert != NULL ? "cert" : "key");
        return false;
    }
    return check_upstream(config, err) && check_tls(&config->tls, err);
}

enum options_outcome config_read_node(struct node_config *config, int argc, char **argv,
                                      struct err *err)
{
    *config = (struct node_config){0};
    struct option_set set = config_node_set(config);
    enum options_outcome outcome =
        read_all(&set, &config->sources, CONFIG_NODE_FILE, argc, argv, err);
    if (outcome == OPTIONS_OK && !check_node(config, err))
        outcome = OPTIONS_BAD;
    return outcome;
}

void config_node_fini(struct node_config *config)
{
    option_list_fini(&config->peers);
    option_list_fini(&config->dns_upstream);
    option_list_fini(&config->authorized_peers);
    option_file_fini(&config->sources.file);
}

enum options_outcome config_read_peer(struct peer_config *config, int argc, char **argv,
                                      struct err *err)
{
    *config = (struct peer_config){0};
    struct option_set set = config_peer_set(config);
    enum options_outcome outcome =
        read_all(&set, &config->sources, CONFIG_PEER_FILE, argc, argv, err);
    if (outcome == OPTIONS_OK && !check_tls(&config->tls, err))
        outcome = OPTIONS_BAD;
    return outcome;
}

void config_peer_fini(struct peer_config *config)
{
    option_file_fini(&config->sources.file);
}

enum options_outcome config_read_ctl(struct ctl_config *config, int argc, char **argv, int *next,
                                     struct err *err)
{
    *config = (struct ctl_config){0};
    struct option_set set = config_ctl_set(config);
    *next = 1;
    return options_parse(&set, 1, argc, argv, next, true, err);
}

bool config_complete_ctl(struct ctl_config *config, struct err *err)
{
    struct option_set set = config_ctl_set(config);
    return complete(&set, &config->sources, CONFIG_CTL_FILE, err) && check_tls(&config->tls, err);
}

void config_ctl_fini(struct ctl_config *config)
{
    option_file_fini(&config->sources.file);
}

void config_apply_log(const struct log_options *log)
{
    log_set_level(log->debug ? LOG_DEBUG : LOG_INFO);
    log_set_format(log->json ? LOG_JSON : LOG_TEXT);
}

/* ---- reading again ---- */

/* Option names for a log line: "debug, log-format". */
struct names {
    char text[512];
    size_t len;
};

static void names_add(struct names *names, const char *name)
{
    int len = snprintf(names->text + names->len, sizeof names->text - names->len, "%s%s",
                       names->len > 0 ? ", " : "", name);
    if (len > 0 && (size_t)len < sizeof names->text - names->len)
        names->len += (size_t)len;
    names->text[names->len] = '\0';
}

static bool is_live(const char *name)
{
    static const char *const live[] = {"debug", "log-format"};
    for (size_t i = 0; i < sizeof live / sizeof live[0]; i++)
        if (strcmp(name, live[i]) == 0)
            return true;
    return false;
}

/* Logs the options that differ: those that apply now, and those that wait for a restart. */
static void compare(const struct option_set *running, const struct option_set *fresh)
{
    struct names changed = {0};
    struct names waiting = {0};
    for (size_t i = 0; i < running->count; i++) {
        const char *name = running->rows[i].long_name;
        struct option_source *now = &running->sources[i];
        const struct option_source *next = &fresh->sources[i];
        if (now->given == next->given && now->digest == next->digest)
            continue;
        names_add(is_live(name) ? &changed : &waiting, name);
        if (is_live(name))
            *now = *next;
    }
    log_info("read the options again", F_STR("changed", changed.text));
    if (waiting.len > 0)
        log_warn("changed options wait for a restart", F_STR("options", waiting.text));
}

/* Whether the file can be read a second time: a pipe, as of `<(...)`, cannot, and might not end. */
static bool can_reload(const struct config_sources *sources, struct err *err)
{
    struct stat st;
    if (sources->path == NULL || stat(sources->path, &st) < 0 || S_ISREG(st.st_mode))
        return true;
    err_set(err, -EINVAL, "option --config: file %.200s is no regular file: it is read once",
            sources->path);
    return false;
}

void config_reload_node(struct node_config *running)
{
    struct node_config fresh = {0};
    struct err err = {0};
    if (can_reload(&running->sources, &err) &&
        config_read_node(&fresh, running->sources.argc, running->sources.argv, &err) ==
            OPTIONS_OK) {
        struct option_set now = config_node_set(running);
        struct option_set next = config_node_set(&fresh);
        running->log = fresh.log;
        config_apply_log(&running->log);
        compare(&now, &next);
    } else {
        log_error("cannot read the options again", F_STR("error", err.text));
    }
    config_node_fini(&fresh);
}

void config_reload_peer(struct peer_config *running)
{
    struct peer_config fresh = {0};
    struct err err = {0};
    if (can_reload(&running->sources, &err) &&
        config_read_peer(&fresh, running->sources.argc, running->sources.argv, &err) ==
            OPTIONS_OK) {
        struct option_set now = config_peer_set(running);
        struct option_set next = config_peer_set(&fresh);
        running->log = fresh.log;
        config_apply_log(&running->log);
        compare(&now, &next);
    } else {
        log_error("cannot read the options again", F_STR("error", err.text));
    }
    config_peer_fini(&fresh);
}
