#include "base/log.h"
#include "control/config/config.h"

#include "tests/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ID "9c76f92d-d55a-46c0-84d6-58c981442830"

static enum options_outcome read_node(struct node_config *config, struct err *err, const char *a,
                                      const char *b, const char *c)
{
    char *argv[5] = {(char *)"heimdall", (char *)a, (char *)b, (char *)c, NULL};
    int argc = 1;
    while (argv[argc] != NULL)
        argc++;
    return config_read_node(config, argc, argv, err);
}

START_TEST(defaults)
{
    struct node_config config;
    struct err err;
    char text[IP_PREFIX_TEXT];
    ck_assert_int_eq(read_node(&config, &err, NULL, NULL, NULL), OPTIONS_OK);
    ck_assert_str_eq(config.data_dir, "/var/lib/heimdall");
    ck_assert_str_eq(config.daemon.interface_name, "darknet");
    ck_assert_str_eq(config.dns_domain, "heimdall");
    ck_assert_uint_eq(config.endpoint_port, 10100);
    ck_assert_uint_eq(config.redis_port, 16379);
    ck_assert_str_eq(ip_prefix_format(&config.node_network, text), "10.10.0.0/16");
    ck_assert_str_eq(ip_prefix_format(&config.peer_network, text), "10.51.0.0/16");
    ck_assert_int_eq(config.node_network6.mode, OVERLAY6_AUTO);
    ck_assert_ptr_null(config.id);
    ck_assert_ptr_null(config.addr);
    ck_assert(!config.log.debug && !config.tls.insecure && !config.allow_peer_to_peer);
    config_node_fini(&config);
}
END_TEST

/* The same value in every spelling. */
static const char *const spellings[][2] = {{"--addr", "tcp://192.0.2.1:1"},
                                           {"--addr=tcp://192.0.2.1:1", NULL},
                                           {"-a", "tcp://192.0.2.1:1"},
                                           {"-a=tcp://192.0.2.1:1", NULL},
                                           {"-atcp://192.0.2.1:1", NULL}};

START_TEST(spelling)
{
    struct node_config config;
    struct err err;
    ck_assert_int_eq(read_node(&config, &err, spellings[_i][0], spellings[_i][1], NULL),
                     OPTIONS_OK);
    ck_assert_str_eq(config.addr, "tcp://192.0.2.1:1");
    config_node_fini(&config);
}
END_TEST

START_TEST(values)
{
    struct node_config config;
    struct err err;
    char *argv[] = {(char *)"heimdall",
                    (char *)"-D",
                    (char *)"--node-network6=none",
                    (char *)"--dns-address=10.1.1.1",
                    (char *)"--dns-upstream-address=9.9.9.9",
                    (char *)"--dns-upstream-address",
                    (char *)"8.8.8.8:5353",
                    (char *)"--endpoint-ip=2001:db8::1",
                    (char *)"--log-format=json",
                    (char *)"--authorized-peer",
                    (char *)ID};
    ck_assert_int_eq(config_read_node(&config, ARRAY_LEN(argv), argv, &err), OPTIONS_OK);
    ck_assert(config.log.debug && config.log.json);
    ck_assert_int_eq(config.node_network6.mode, OVERLAY6_NONE);
    ck_assert_uint_eq(endpoint_port(&config.dns_address), 53);
    ck_assert_uint_eq(config.dns_upstream.count, 2);
    ck_assert_str_eq(config.dns_upstream.values[1], "8.8.8.8:5353");
    ck_assert_uint_eq(config.endpoint_ip.family, 6);
    ck_assert_uint_eq(config.authorized_peers.count, 1);
    config_node_fini(&config);
}
END_TEST

START_TEST(environment)
{
    struct node_config config;
    struct err err;
    setenv("HEIMDALL_ENDPOINT_PORT", "1234", 1);
    setenv("HEIMDALL_DNS_UPSTREAM_ADDRESS", "9.9.9.9,1.1.1.1:53", 1);
    setenv("HEIMDALL_NODE_NAME", "", 1); /* as if it were not set */
    ck_assert_int_eq(read_node(&config, &err, NULL, NULL, NULL), OPTIONS_OK);
    ck_assert_uint_eq(config.endpoint_port, 1234);
    ck_assert_uint_eq(config.dns_upstream.count, 2);
    ck_assert_ptr_null(config.name);
    config_node_fini(&config);
    /* the command line wins, a list as a whole */
    ck_assert_int_eq(
        read_node(&config, &err, "--endpoint-port=5", "--dns-upstream-address=8.8.8.8", NULL),
        OPTIONS_OK);
    ck_assert_uint_eq(config.endpoint_port, 5);
    ck_assert_uint_eq(config.dns_upstream.count, 1);
    config_node_fini(&config);
}
END_TEST

/* Arguments, and words that the error must have. */
static const struct {
    const char *args[3];
    const char *words[3];
} refused[] = {
    {{"--no-such-option"}, {"--no-such-option"}},
    {{"-x"}, {"-x"}},
    {{"extra"}, {"extra"}},
    {{"--name"}, {"--name", "needs a value"}},
    {{"--name", "bad_name!"}, {"--name", "bad_name!", "DNS"}},
    {{"--name", "-a"}, {"--name", "-a"}},
    {{"--endpoint-port", "0"}, {"--endpoint-port", "\"0\"", "65535"}},
    {{"--endpoint-port", "70000"}, {"70000", "65535"}},
    {{"--endpoint-port", "+1"}, {"+1", "65535"}},
    {{"--endpoint-ip", "1.2.3"}, {"--endpoint-ip", "1.2.3", "IP address"}},
    {{"--node-network", "10.10.0.0/33"}, {"--node-network", "10.10.0.0/33", "CIDR"}},
    {{"--node-network", "10.10.0.0"}, {"CIDR"}},
    {{"--node-network", "10.10.1.0/16"}, {"10.10.1.0/16"}},
    {{"--node-network", "10.10.0.0/28"}, {"10.10.0.0/28"}},
    {{"--peer-network", "fd00::/48"}, {"--peer-network", "IPv4"}},
    {{"--peer-network", "127.0.0.0/8"}, {"--peer-network", "not reserved"}},
    {{"--peer-network", "239.1.0.0/16"}, {"--peer-network", "not reserved"}},
    {{"--node-network", "169.254.0.0/16"}, {"--node-network", "not reserved"}},
    {{"--node-network6", "fe80::/48"}, {"--node-network6", "not reserved"}},
    {{"--peer-network", "10.10.128.0/17"}, {"--peer-network", "10.10.0.0/16"}},
    {{"--node-network6", "10.0.0.0/8"}, {"--node-network6", "IPv6"}},
    {{"--node-network6=fd00::/48", "--peer-network6=fd00::/64"}, {"--peer-network6", "fd00::/48"}},
    {{"--addr", "tcp://nowhere"}, {"--addr", "tcp://nowhere", "tcp://"}},
    {{"--addr", "10.0.0.1:9000"}, {"tcp://"}},
    {{"--interface-name", "a-name-that-is-too-long"}, {"--interface-name", "15"}},
    {{"--interface-name", "a/b"}, {"a/b"}},
    {{"--interface-name", "all"}, {"--interface-name", "\"all\"", "reserves"}},
    {{"--interface-name", "default"}, {"\"default\"", "reserves"}},
    {{"--interface-name", "lo"}, {"\"lo\"", "reserves"}},
    {{"--interface-name", "."}, {"\".\""}},
    {{"--node-interface", "a:b"}, {"--node-interface", "\"a:b\""}},
    {{"--dns-domain", "a..b"}, {"a..b"}},
    {{"--dns-address", "x"}, {"--dns-address", "x"}},
    {{"--dns-upstream-address", "nine"}, {"--dns-upstream-address", "nine"}},
    {{"--dns-upstream-address", "::1,::2,::3,::4,::5,::6,::7,::8,::9"},
     {"--dns-upstream-address", "at most 8"}},
    {{"--dns-upstream-tls", "dns.example"}, {"--dns-upstream-tls", "--dns-upstream-address"}},
    {{"--dns-upstream-tls", "a..b"}, {"--dns-upstream-tls", "a..b"}},
    {{"--log-format", "xml"}, {"xml", "json"}},
    {{"--insecure=maybe"}, {"--insecure", "maybe"}},
    {{"--peer", "tcp://192.0.2.1:9000"}, {"--peer"}},
    {{"--cert", "a"}, {"--cert", "--ca"}},
    {{"--cluster-key=" ID, "--cluster-key-file=x"}, {"--cluster-key-file"}},
};

START_TEST(refuses)
{
    struct node_config config;
    struct err err = {0};
    const char *const *args = refused[_i].args;
    ck_assert_int_eq(read_node(&config, &err, args[0], args[1], args[2]), OPTIONS_BAD);
    for (size_t i = 0; i < 3 && refused[_i].words[i] != NULL; i++)
        ck_assert_msg(strstr(err.text, refused[_i].words[i]) != NULL, "no \"%s\" in: %s",
                      refused[_i].words[i], err.text);
    config_node_fini(&config);
}
END_TEST

START_TEST(weak_secrets_are_refused_unseen)
{
    static const char *const options[] = {"--id", "--cluster-key", "--authorized-peer"};
    struct node_config config;
    struct err err = {0};
    ck_assert_int_eq(read_node(&config, &err, options[_i], "laptop", NULL), OPTIONS_BAD);
    ck_assert_ptr_nonnull(strstr(err.text, options[_i]));
    ck_assert_ptr_nonnull(strstr(err.text, "uuidgen"));
    ck_assert_ptr_null(strstr(err.text, "laptop"));
    config_node_fini(&config);
}
END_TEST

START_TEST(environment_refused)
{
    struct node_config config;
    struct err err = {0};
    setenv("HEIMDALL_ENDPOINT_PORT", "abc", 1);
    ck_assert_int_eq(read_node(&config, &err, NULL, NULL, NULL), OPTIONS_BAD);
    ck_assert_ptr_nonnull(strstr(err.text, "HEIMDALL_ENDPOINT_PORT"));
    ck_assert_ptr_nonnull(strstr(err.text, "abc"));
    config_node_fini(&config);
}
END_TEST

START_TEST(help_and_version)
{
    struct node_config config;
    struct err err;
    ck_assert_int_eq(read_node(&config, &err, "-h", NULL, NULL), OPTIONS_HELP);
    ck_assert_int_eq(read_node(&config, &err, "--debug", "--version", NULL), OPTIONS_VERSION);
    config_node_fini(&config);
}
END_TEST

static const struct {
    const char *text;
    uint64_t ms; /* 0: refused */
} durations[] = {{"10s", 10000},  {"500ms", 500}, {"100ms", 100}, {"2m", 120000}, {"1h", 3600000},
                 {"99ms", 0},     {"10", 0},      {"s", 0},       {"", 0},        {"-1s", 0},
                 {"1000001s", 0}, {"1 s", 0},     {"1d", 0}};

START_TEST(peer_durations)
{
    struct peer_config config;
    struct err err;
    char *argv[] = {(char *)"hpeer", (char *)"--update-interval", (char *)durations[_i].text};
    enum options_outcome outcome = config_read_peer(&config, 3, argv, &err);
    ck_assert_int_eq(outcome, durations[_i].ms != 0 ? OPTIONS_OK : OPTIONS_BAD);
    if (outcome == OPTIONS_OK)
        ck_assert_uint_eq(config.update_interval_ns, durations[_i].ms * 1000000);
    config_peer_fini(&config);
}
END_TEST

START_TEST(ctl_global_options_stop_at_the_command)
{
    struct ctl_config config;
    struct err err;
    int next;
    char *argv[] = {(char *)"hctl",  (char *)"-a", (char *)"tcp://router:9000",
                    (char *)"peers", (char *)"-D", (char *)"list"};
    ck_assert_int_eq(config_read_ctl(&config, 6, argv, &next, &err), OPTIONS_OK);
    ck_assert_int_eq(next, 3);
    ck_assert_str_eq(config.addr, "tcp://router:9000");
    ck_assert(!config.log.debug);
    /* behind it, options and words mix; the words come together, in order */
    struct option_set set = config_ctl_set(&config);
    ck_assert_int_eq(options_parse(&set, 1, 6, argv, &next, false, &err), OPTIONS_OK);
    ck_assert_int_eq(next, 5);
    ck_assert_str_eq(argv[3], "peers");
    ck_assert_str_eq(argv[4], "list");
    ck_assert(config.log.debug);
    ck_assert(config_complete_ctl(&config, &err));
    ck_assert_str_eq(config.data_dir, "/var/lib/heimdall");
    config_ctl_fini(&config);
}
END_TEST

START_TEST(double_dash_ends_options)
{
    struct ctl_config config;
    struct err err;
    int next;
    char *argv[] = {(char *)"hctl", (char *)"x", (char *)"--", (char *)"-D"};
    ck_assert_int_eq(config_read_ctl(&config, 4, argv, &next, &err), OPTIONS_OK);
    struct option_set set = config_ctl_set(&config);
    ck_assert_int_eq(options_parse(&set, 1, 4, argv, &next, false, &err), OPTIONS_OK);
    ck_assert_int_eq(next, 3);
    ck_assert_str_eq(argv[2], "-D");
    ck_assert(!config.log.debug);
}
END_TEST

/* ---- the original's options, and where a value may come from ---- */

enum program { NODE, PEER, CTL };

static enum options_outcome read_program(enum program program, int argc, char **argv, FILE *out,
                                         struct err *err);

/* Each option of the original's tables: its variable, and its default as the help shows it. */
static const struct {
    enum program program;
    const char *option;
    const char *env;      /* NULL: none in the original either */
    const char *fallback; /* NULL: not a constant */
} originals[] = {
    {NODE, "-D, --debug", NULL, NULL},
    {NODE, "--id", "HEIMDALL_NODE_ID", NULL},
    {NODE, "--name", "HEIMDALL_NODE_NAME", NULL},
    {NODE, "--data-dir", "HEIMDALL_DATA_DIR", "/var/lib/heimdall"},
    {NODE, "--redis-port", "HEIMDALL_REDIS_PORT", "16379"},
    {NODE, "-a, --addr", "HEIMDALL_GRPC_ADDR", "tcp://HOSTIP:9000"},
    {NODE, "--advertise-grpc-address", "HEIMDALL_ADVERTISE_GRPC_ADDR", NULL},
    {NODE, "--peer", "HEIMDALL_PEER", NULL},
    {NODE, "--cluster-key", "HEIMDALL_CLUSTER_KEY", NULL},
    {NODE, "--cluster-key-file", NULL, NULL},
    {NODE, "--node-interface", "HEIMDALL_NODE_INTERFACE", NULL},
    {NODE, "--node-network", "HEIMDALL_NODE_NETWORK", "10.10.0.0/16"},
    {NODE, "--peer-network", "HEIMDALL_PEER_NETWORK", "10.51.0.0/16"},
    {NODE, "--allow-peer-to-peer", "HEIMDALL_ALLOW_PEER_TO_PEER", NULL},
    {NODE, "--endpoint-ip", "HEIMDALL_ENDPOINT_IP", "HOSTIP"},
    {NODE, "--endpoint-port", "HEIMDALL_ENDPOINT_PORT", "10100"},
    {NODE, "--dns-address", NULL, NULL},
    {NODE, "--dns-upstream-address", NULL, NULL},
    {NODE, "--interface-name", "HEIMDALL_INTERFACE_NAME", "darknet"},
    {NODE, "--authorized-peer", NULL, NULL},
    {NODE, "-c, --cert", NULL, NULL},
    {NODE, "-k, --key", NULL, NULL},
    {NODE, "--client-cert", NULL, NULL},
    {NODE, "--client-key", NULL, NULL},
    {NODE, "--skip-verify", NULL, NULL},
    {NODE, "--ca", NULL, NULL},
    {PEER, "-D, --debug", NULL, NULL},
    {PEER, "--id", "HEIMDALL_ID", NULL},
    {PEER, "--name", "HEIMDALL_NAME", NULL},
    {PEER, "--addr", "HEIMDALL_ADDR", "tcp://127.0.0.1:9000"},
    {PEER, "--update-interval", "HEIMDALL_UPDATE_INTERVAL", "10s"},
    {PEER, "--interface-name", "HEIMDALL_INTERFACE_NAME", "darknet"},
    {PEER, "--data-dir", "HEIMDALL_DATA_DIR", "/var/lib/heimdall-peer"},
    {PEER, "-c, --cert", NULL, NULL},
    {PEER, "-k, --key", NULL, NULL},
    {PEER, "--skip-verify", NULL, NULL},
    {CTL, "-D, --debug", NULL, NULL},
    {CTL, "-a, --addr", "HEIMDALL_ADDR", "tcp://127.0.0.1:9000"},
    {CTL, "-c, --cert", "HEIMDALL_CLIENT_CERT", NULL},
    {CTL, "-k, --key", "HEIMDALL_CLIENT_KEY", NULL},
    {CTL, "--skip-verify", "HEIMDALL_SKIP_VERIFY", NULL},
};

/* The help of a program, which shows every row. */
static void help_of(enum program program, char *out, size_t size)
{
    FILE *file = fmemopen(out, size, "w");
    ck_assert_ptr_nonnull(file);
    read_program(program, 0, NULL, file, NULL);
    ck_assert_int_eq(fclose(file), 0);
}

START_TEST(options_of_the_original)
{
    static char help[16384];
    help_of(originals[_i].program, help, sizeof help);
    char start[80];
    snprintf(start, sizeof start, "%s%s ", originals[_i].option[1] == '-' ? "      " : "  ",
             originals[_i].option);
    char *line = strstr(help, start);
    ck_assert_msg(line != NULL, "no %s in:\n%s", originals[_i].option, help);
    *strchrnul(line, '\n') = '\0';
    ck_assert_msg(strstr(line, "[HEIMDALL_") != NULL, "no variable: %s", line);
    if (originals[_i].env != NULL)
        ck_assert_msg(strstr(strchr(line, '['), originals[_i].env) != NULL, "%s", line);
    if (originals[_i].fallback != NULL)
        ck_assert_msg(strstr(line, originals[_i].fallback) != NULL, "%s", line);
}
END_TEST

static enum options_outcome read_program(enum program program, int argc, char **argv, FILE *out,
                                         struct err *err)
{
    static struct node_config node;
    static struct peer_config peer;
    static struct ctl_config ctl;
    enum options_outcome outcome = OPTIONS_BAD;
    int next;
    struct option_set sets[] = {config_node_set(&node), config_peer_set(&peer),
                                config_ctl_set(&ctl)};
    if (out != NULL) {
        options_print_help(out, &sets[program]);
        return OPTIONS_HELP;
    }
    switch (program) {
    case NODE:
        outcome = config_read_node(&node, argc, argv, err);
        config_node_fini(&node);
        break;
    case PEER:
        outcome = config_read_peer(&peer, argc, argv, err);
        config_peer_fini(&peer);
        break;
    case CTL:
        outcome = config_read_ctl(&ctl, argc, argv, &next, err);
        if (outcome == OPTIONS_OK && !config_complete_ctl(&ctl, err))
            outcome = OPTIONS_BAD;
        config_ctl_fini(&ctl);
        break;
    }
    return outcome;
}

/* Every option of every program that takes a value refuses an empty one from each source, and says
 * which it was. */
START_TEST(every_option_names_itself)
{
    struct node_config node;
    struct peer_config peer;
    struct ctl_config ctl;
    struct option_set sets[] = {config_node_set(&node), config_peer_set(&peer),
                                config_ctl_set(&ctl)};
    const struct option_set *set = &sets[_i];
    for (size_t i = 0; i < set->count; i++) {
        const struct option *row = &set->rows[i];
        struct err err = {0};
        char option[80];
        char *argv[] = {(char *)"program", option};
        snprintf(option, sizeof option, "--%s=", row->long_name);
        ck_assert_int_eq(read_program((enum program)_i, 2, argv, NULL, &err), OPTIONS_BAD);
        option[strlen(option) - 1] = '\0';
        ck_assert_msg(strstr(err.text, option) != NULL, "%s", err.text);
        ck_assert_msg(strstr(err.text, row->kind->expected) != NULL, "%s", err.text);
        ck_assert_ptr_nonnull(row->env);
        if (row->kind->parse != option_text.parse) {
            setenv(row->env, "\t", 1);
            ck_assert_int_eq(read_program((enum program)_i, 1, argv, NULL, &err), OPTIONS_BAD);
            ck_assert_msg(strstr(err.text, row->env) != NULL, "%s", err.text);
            ck_assert_msg(strstr(err.text, option) != NULL, "%s", err.text);
            unsetenv(row->env);
        }
    }
}
END_TEST

START_TEST(skip_verify_is_refused)
{
    struct err err = {0};
    char *argv[] = {(char *)"program", (char *)"--skip-verify"};
    ck_assert_int_eq(read_program((enum program)_i, 2, argv, NULL, &err), OPTIONS_BAD);
    ck_assert_ptr_nonnull(strstr(err.text, "--skip-verify"));
}
END_TEST

/* ---- the file ---- */

static char config_path[] = "/tmp/test_options.XXXXXX";

static void write_config(const char *text, size_t len, mode_t mode)
{
    memcpy(config_path + sizeof config_path - 7, "XXXXXX", 6);
    int fd = mkstemp(config_path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fchmod(fd, mode), 0);
    ck_assert_int_eq(write(fd, text, len), (ssize_t)len);
    ck_assert_int_eq(close(fd), 0);
}

START_TEST(file_is_read)
{
    static const char text[] = "# a node\n\n  endpoint-port = 5 \r\n\tname=router\n"
                               "dns-upstream-address = 9.9.9.9\ndns-upstream-address = 8.8.8.8:53\n"
                               "insecure = true\nnode-network = 10.20.0.0/16\nid = " ID;
    struct node_config config;
    struct err err = {0};
    write_config(text, sizeof text - 1, 0600);
    setenv("HEIMDALL_CONFIG", config_path, 1);
    setenv("HEIMDALL_NODE_NAME", "other", 1);
    setenv("HEIMDALL_NODE_NETWORK", "10.30.0.0/16", 1);
    ck_assert_msg(read_node(&config, &err, "--node-network", "10.40.0.0/16", NULL) == OPTIONS_OK,
                  "%s", err.text);
    (void)unlink(config_path);
    char network[IP_PREFIX_TEXT];
    ck_assert_uint_eq(config.endpoint_port, 5);
    ck_assert_uint_eq(config.dns_upstream.count, 2);
    ck_assert_str_eq(config.dns_upstream.values[1], "8.8.8.8:53");
    ck_assert(config.tls.insecure);
    ck_assert_str_eq(config.id, ID);
    ck_assert_str_eq(config.name, "other"); /* the variable wins */
    ck_assert_str_eq(ip_prefix_format(&config.node_network, network), "10.40.0.0/16");
    ck_assert_uint_eq(config.redis_port, 16379); /* in none of them */
    config_node_fini(&config);
}
END_TEST

START_TEST(list_of_a_higher_source_counts_whole)
{
    static const char text[] = "dns-upstream-address = 9.9.9.9\ndns-upstream-address = 8.8.8.8\n";
    struct node_config config;
    struct err err = {0};
    write_config(text, sizeof text - 1, 0644);
    setenv("HEIMDALL_DNS_UPSTREAM_ADDRESS", "1.1.1.1", 1);
    ck_assert_msg(read_node(&config, &err, "--config", config_path, NULL) == OPTIONS_OK, "%s",
                  err.text);
    ck_assert_uint_eq(config.dns_upstream.count, 1);
    ck_assert_str_eq(config.dns_upstream.values[0], "1.1.1.1");
    config_node_fini(&config);
    (void)unlink(config_path);
}
END_TEST

static const struct {
    const char *text;
    mode_t mode;
    const char *words[4];
} bad_files[] = {
    {"\nno-such-option = 1\n", 0600, {"line 2", "no-such-option"}},
    {"config = /etc/x\n", 0600, {"line 1", "config"}},
    {"endpoint-port = 70000\n", 0600, {"line 1", "endpoint-port", "70000", "65535"}},
    {"endpoint-port =\n", 0600, {"line 1", "endpoint-port", "\"\"", "65535"}},
    {"endpoint-port\n", 0600, {"line 1", "option = value"}},
    {"= 5\n", 0600, {"line 1", "option = value"}},
    {"name = a\nname = b\n", 0600, {"line 2", "name", "twice"}},
    {"insecure = maybe\n", 0600, {"line 1", "insecure", "maybe", "true or false"}},
    {"--name = a\n", 0600, {"line 1", "--name"}},
    {"cluster-key = " ID "\n", 0644, {"line 1", "cluster-key", "0600"}},
    {"cluster-key = laptop\n", 0600, {"line 1", "cluster-key", "uuidgen"}},
    {"name = \"router\"\n", 0600, {"line 1", "quotes", "leave them out"}},
    {"name = 'router'\n", 0600, {"line 1", "quotes"}},
    {"name = router # mine\n", 0600, {"line 1", "comment", "line of its own"}},
    {"HEIMDALL_NODE_NAME = router\n", 0600, {"line 1", "is a variable", "option, name"}},
    {"\xff\xfen\x61", 0600, {"line 1", "UTF-16", "UTF-8"}},
    {"name = a\rinsecure = 1\r", 0600, {"line 1", "carriage return", "newlines"}},
    {"# a\nna\xe2\x80\x8bme = a\n", 0600, {"line 2", "invisible"}},
    {"name\xc2\xa0= a\n", 0600, {"line 1", "invisible"}},
};

START_TEST(file_is_refused)
{
    struct node_config config;
    struct err err = {0};
    write_config(bad_files[_i].text, strlen(bad_files[_i].text), bad_files[_i].mode);
    ck_assert_int_eq(read_node(&config, &err, "--config", config_path, NULL), OPTIONS_BAD);
    (void)unlink(config_path);
    config_node_fini(&config);
    ck_assert_ptr_nonnull(strstr(err.text, config_path));
    ck_assert_ptr_null(strstr(err.text, "laptop"));
    ck_assert_ptr_null(strstr(err.text, ID));
    for (size_t i = 0; i < 4 && bad_files[_i].words[i] != NULL; i++)
        ck_assert_msg(strstr(err.text, bad_files[_i].words[i]) != NULL, "no \"%s\" in: %s",
                      bad_files[_i].words[i], err.text);
}
END_TEST

/* What editors of other systems write around the text. */
START_TEST(marks_and_carriage_returns_say_nothing)
{
    static const char text[] = "\xef\xbb\xbfname = router\r\n\r\n# x\r\n"
                               "\xef\xbb\xbf" /* of a second file, behind the first */
                               "endpoint-port = 5\r\n";
    struct node_config config;
    struct err err = {0};
    write_config(text, sizeof text - 1, 0600);
    ck_assert_msg(read_node(&config, &err, "--config", config_path, NULL) == OPTIONS_OK, "%s",
                  err.text);
    ck_assert_str_eq(config.name, "router");
    ck_assert_uint_eq(config.endpoint_port, 5);
    config_node_fini(&config);
    (void)unlink(config_path);
}
END_TEST

/* ---- reading again ---- */

static void rewrite_config(const char *text)
{
    FILE *file = fopen(config_path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

/* What the last reload logged, without the times. */
static const char *logged(int fd)
{
    static char text[1024];
    ssize_t len = read(fd, text, sizeof text - 1);
    ck_assert_int_ge(len, 0);
    text[len] = '\0';
    return text;
}

START_TEST(options_are_read_again)
{
    struct node_config config;
    struct err err = {0};
    int fds[2];
    ck_assert_int_eq(pipe(fds), 0);
    write_config("name = a\n", 9, 0600);
    char *argv[] = {(char *)"heimdall", (char *)"--config", config_path, (char *)"--dns-domain=x"};
    ck_assert_int_eq(config_read_node(&config, 4, argv, &err), OPTIONS_OK);
    log_set_fd(fds[1]);
    /* live, and not live; the command line still wins */
    rewrite_config("name = b\ndebug = true\ndns-domain = y\nauthorized-peer = " ID "\n");
    ck_assert_int_eq(chmod(config_path, 0600), 0);
    config_reload_node(&config);
    const char *text = logged(fds[0]);
    ck_assert_msg(strstr(text, "INFO read the options again changed=debug\n") != NULL, "%s", text);
    ck_assert_msg(strstr(text, "WARN changed options wait for a restart "
                               "options=\"name, authorized-peer\"\n") != NULL,
                  "%s", text);
    ck_assert(config.log.debug && log_enabled(LOG_DEBUG));
    ck_assert_str_eq(config.name, "a");
    ck_assert_str_eq(config.dns_domain, "x");
    /* one is taken back, and what waits is named again */
    rewrite_config("name = b\n");
    config_reload_node(&config);
    text = logged(fds[0]);
    ck_assert_msg(strstr(text, "again changed=debug\n") != NULL, "%s", text);
    ck_assert_msg(strstr(text, "options=name\n") != NULL, "%s", text);
    ck_assert(!log_enabled(LOG_DEBUG));
    /* as it was at the start */
    rewrite_config("name = a\n");
    config_reload_node(&config);
    text = logged(fds[0]);
    ck_assert_msg(strstr(text, "again changed=\"\"\n") != NULL, "%s", text);
    ck_assert_ptr_null(strstr(text, "restart"));
    /* not right: nothing changes */
    rewrite_config("debug = true\nname = a b\n");
    config_reload_node(&config);
    text = logged(fds[0]);
    ck_assert_msg(strstr(text, "ERRO cannot read the options again") != NULL, "%s", text);
    ck_assert_msg(strstr(text, "line 2: option name") != NULL, "%s", text);
    ck_assert(!log_enabled(LOG_DEBUG));
    /* a pipe would not end */
    (void)unlink(config_path);
    ck_assert_int_eq(mkfifo(config_path, 0600), 0);
    config_reload_node(&config);
    text = logged(fds[0]);
    ck_assert_msg(strstr(text, "is no regular file") != NULL, "%s", text);
    (void)unlink(config_path);
    config_node_fini(&config);
}
END_TEST

START_TEST(options_of_a_peer_are_read_again)
{
    struct peer_config config;
    struct err err = {0};
    write_config("log-format = text\n", 18, 0600);
    char *argv[] = {(char *)"hpeer", (char *)"--config", config_path};
    ck_assert_int_eq(config_read_peer(&config, 3, argv, &err), OPTIONS_OK);
    log_set_fd(-1);
    rewrite_config("log-format = json\nexit-node = r\n");
    config_reload_peer(&config);
    ck_assert(config.log.json);
    ck_assert_ptr_null(config.exit_node);
    config_peer_fini(&config);
    (void)unlink(config_path);
}
END_TEST

START_TEST(file_that_is_no_text)
{
    static char text[OPTION_FILE_MAX + 2];
    struct node_config config;
    struct err err = {0};
    memset(text, '#', sizeof text);
    const struct {
        size_t len;
        const char *word;
    } cases[] = {{sizeof text, "too large"}, {OPTION_FILE_LINE_MAX + 1, "line 1: too long"}};
    for (size_t i = 0; i < 2; i++) {
        write_config(text, cases[i].len, 0600);
        ck_assert_int_eq(read_node(&config, &err, "--config", config_path, NULL), OPTIONS_BAD);
        ck_assert_msg(strcasestr(err.text, cases[i].word) != NULL, "%s", err.text);
        config_node_fini(&config);
        (void)unlink(config_path);
    }
    write_config("a\0b\n", 4, 0600);
    ck_assert_int_eq(read_node(&config, &err, "--config", config_path, NULL), OPTIONS_BAD);
    ck_assert_msg(strstr(err.text, "line 1: holds a NUL") != NULL, "%s", err.text);
    config_node_fini(&config);
    (void)unlink(config_path);
    /* one that is asked for has to be there */
    ck_assert_int_eq(read_node(&config, &err, "--config", config_path, NULL), OPTIONS_BAD);
    ck_assert_ptr_nonnull(strstr(err.text, config_path));
    config_node_fini(&config);
    ck_assert_int_eq(read_node(&config, &err, "--config", "/tmp", NULL), OPTIONS_BAD);
    ck_assert_ptr_nonnull(strstr(err.text, "/tmp"));
    config_node_fini(&config);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("config");
    tcase_add_test(tc, defaults);
    tcase_add_loop_test(tc, spelling, 0, ARRAY_LEN(spellings));
    tcase_add_test(tc, values);
    tcase_add_test(tc, environment);
    tcase_add_loop_test(tc, refuses, 0, ARRAY_LEN(refused));
    tcase_add_loop_test(tc, weak_secrets_are_refused_unseen, 0, 3);
    tcase_add_test(tc, environment_refused);
    tcase_add_test(tc, help_and_version);
    tcase_add_loop_test(tc, peer_durations, 0, ARRAY_LEN(durations));
    tcase_add_test(tc, ctl_global_options_stop_at_the_command);
    tcase_add_test(tc, double_dash_ends_options);
    tcase_add_loop_test(tc, options_of_the_original, 0, ARRAY_LEN(originals));
    tcase_add_loop_test(tc, every_option_names_itself, 0, 3);
    tcase_add_loop_test(tc, skip_verify_is_refused, 0, 3);
    tcase_add_test(tc, file_is_read);
    tcase_add_test(tc, list_of_a_higher_source_counts_whole);
    tcase_add_loop_test(tc, file_is_refused, 0, ARRAY_LEN(bad_files));
    tcase_add_test(tc, marks_and_carriage_returns_say_nothing);
    tcase_add_test(tc, file_that_is_no_text);
    tcase_add_test(tc, options_are_read_again);
    tcase_add_test(tc, options_of_a_peer_are_read_again);
    return unit_run(tc);
}
