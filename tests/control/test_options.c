#include "control/config.h"

#include "tests/unit.h"

#include <string.h>

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
    ck_assert_str_eq(config.interface_name, "darknet");
    ck_assert_str_eq(config.dns_domain, "heimdall");
    ck_assert_uint_eq(config.endpoint_port, 10100);
    ck_assert_uint_eq(config.redis_port, 16379);
    ck_assert_str_eq(ip_prefix_format(&config.node_network, text), "10.10.0.0/16");
    ck_assert_str_eq(ip_prefix_format(&config.peer_network, text), "10.51.0.0/16");
    ck_assert_int_eq(config.node_network6.mode, OVERLAY6_AUTO);
    ck_assert_ptr_null(config.id);
    ck_assert_ptr_null(config.addr);
    ck_assert(!config.log.debug && !config.insecure && !config.allow_peer_to_peer);
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
    {{"--peer-network", "10.10.128.0/17"}, {"--peer-network", "10.10.0.0/16"}},
    {{"--node-network6", "10.0.0.0/8"}, {"--node-network6", "IPv6"}},
    {{"--node-network6=fd00::/48", "--peer-network6=fd00::/64"}, {"--peer-network6", "fd00::/48"}},
    {{"--addr", "tcp://nowhere"}, {"--addr", "tcp://nowhere", "tcp://"}},
    {{"--addr", "10.0.0.1:9000"}, {"tcp://"}},
    {{"--interface-name", "a-name-that-is-too-long"}, {"--interface-name", "15"}},
    {{"--interface-name", "a/b"}, {"a/b"}},
    {{"--dns-domain", "a..b"}, {"a..b"}},
    {{"--dns-address", "x"}, {"--dns-address", "x"}},
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
    return unit_run(tc);
}
