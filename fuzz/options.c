#include "control/config/config.h"
#include "control/host/resolv_conf.h"
#include "control/host/resolver.h"
#include "control/rpc/address.h"

#include "base/buffer.h"
#include "fuzz/fuzz.h"
#include "proto/grpc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What users and other programs write to us as text: command lines, files of options, addresses,
 * resolv.conf, the texts inside gRPC headers. */

enum { WORDS = 12, TEXT_MAX = 4096 };

/* Bytes of 128 and more are these words, so that a search need not spell them. */
static const char *const words[] = {
    "--addr",
    "-a",
    "--addr=",
    "--peer",
    "--peers",
    "--network",
    "--id",
    "--data-dir",
    "-h",
    "--help",
    "-v",
    "--",
    "-",
    "--insecure",
    "--insecure=false",
    "-j",
    "-o",
    "json",
    "text",
    "--node-network",
    "10.0.0.0/16",
    "--peer-network",
    "fd00::/64",
    "none",
    "auto",
    "--endpoint-port",
    "65535",
    "0",
    "--dns-upstream",
    "192.0.2.1:53",
    "--update-interval",
    "5s",
    "100ms",
    "99ms",
    "1h30m",
    "tcp://[::1]:9000",
    "tcp://a.example:9000",
    "unix:///run/x",
    "--cluster-key",
    "--name",
    "--authorized-peer",
    "--node-network6",
    "--debug",
    "--log-format",
};

enum { KNOWN = sizeof words / sizeof words[0] };

static char *take_word(struct input *input)
{
    if (input->left > 0 && *input->at >= 128)
        return strdup(words[input_byte(input) % KNOWN]);
    return input_text(input, 80);
}

static void check_options(struct input *input, uint8_t what)
{
    char *argv[WORDS + 2] = {strdup("program")};
    char *all[WORDS + 2] = {argv[0]}; /* parsing moves words around */
    int argc = 1;
    struct err err = {.text = ""};
    enum options_outcome outcome = OPTIONS_OK;
    while (argc <= WORDS && input_has(input)) {
        all[argc] = argv[argc] = take_word(input);
        argc++;
    }
    if (what % 3 == 0) {
        struct node_config config;
        outcome = config_read_node(&config, argc, argv, &err);
        if (outcome == OPTIONS_OK)
            require(config.data_dir != NULL && config.node_network.addr.family == 4 &&
                    config.endpoint_port != 0);
        config_node_fini(&config);
    } else if (what % 3 == 1) {
        struct peer_config config;
        outcome = config_read_peer(&config, argc, argv, &err);
        if (outcome == OPTIONS_OK)
            require(config.update_interval_ns >= 100000000);
        config_peer_fini(&config);
    } else {
        struct ctl_config config;
        int next = 1;
        outcome = config_read_ctl(&config, argc, argv, &next, &err);
        require(next >= 1 && next <= argc);
        if (outcome == OPTIONS_OK && !config_complete_ctl(&config, &err))
            outcome = OPTIONS_BAD;
        config_ctl_fini(&config);
    }
    require((outcome == OPTIONS_BAD) == (err.text[0] != '\0'));
    require(strchr(err.text, '\n') == NULL); /* one line, whatever was typed */
    for (int i = 0; i < argc; i++)
        free(all[i]);
}

/* A whole file: an error names its line; a public one gives no secrets. */
static void check_file(struct input *input, uint8_t what)
{
    struct node_config config = {.data_dir = ""};
    struct option_set set = config_node_set(&config);
    struct err err = {.text = ""};
    size_t len = input->left;
    char *text = malloc(len + 1);
    require(text != NULL);
    memcpy(text, input->at, len);
    text[len] = '\0';
    bool good = option_file_parse(text, len, &set, "file", what & 1, &err);
    require(good == (err.text[0] == '\0'));
    require(good || (strncmp(err.text, "file line ", 10) == 0 && strchr(err.text, '\n') == NULL));
    if (good && (what & 1))
        require(config.cluster_key == NULL && config.authorized_peers.count == 0);
    if (good)
        for (size_t i = 0; i < set.count; i++)
            require(!config.sources.of_rows[i].given || set.rows[i].kind != &option_path);
    config_node_fini(&config);
    free(text);
}

static void check_address(struct input *input, uint8_t what)
{
    struct address address;
    struct address again;
    struct err err = {.text = ""};
    char formatted[ADDRESS_TEXT];
    char *text = input_text(input, 400);
    int rc = address_parse(&address, text, what & 1, &err);
    require(rc == 0 || (rc == -EINVAL && err.text[0] != '\0'));
    if (rc == 0) {
        require(strlen(address_format(&address, formatted)) + 1 <= sizeof formatted);
        require(address_parse(&again, formatted, what & 1, &err) == 0);
        require(address_equal(&address, &again));
        if (address.kind == ADDRESS_TCP)
            require(address.port != 0);
        else
            require(address.path[0] == '/');
    }
    free(text);
}

static void check_resolv_conf(struct input *input)
{
    char *text = input_text(input, TEXT_MAX);
    union endpoint servers[RESOLVER_NAMESERVERS];
    struct ip_addr ours = {4, {10, 11, 0, 1}};
    struct resolver_setup setup = {.nameservers = &ours,
                                   .nameserver_count = 1,
                                   .domain = "heimdall",
                                   .interface = "darknet",
                                   .keep_former = true};
    struct buffer out;
    size_t count = resolv_conf_nameservers(text, servers, RESOLVER_NAMESERVERS);
    require(count <= RESOLVER_NAMESERVERS);
    for (size_t i = 0; i < count; i++)
        require(endpoint_port(&servers[i]) == 53);
    buffer_init(&out);
    resolv_conf_compose(&out, text, "/var/lib/heimdall", &setup);
    buffer_append(&out, "", 1);
    require(!buffer_failed(&out));
    const char *composed = (const char *)buffer_data(&out);
    struct ip_addr first;
    require(resolv_conf_is_ours(composed, "/var/lib/heimdall"));
    require(!resolv_conf_is_ours(composed, "/var/lib/heim"));
    require(resolv_conf_nameservers(composed, servers, RESOLVER_NAMESERVERS) >= 1);
    endpoint_addr(&servers[0], &first);
    require(ip_addr_equal(&first, &ours)); /* we are asked first */
    buffer_fini(&out);
    free(text);
}

struct frames {
    size_t count;
    size_t bytes;
};

static bool count_frame(void *ctx, const uint8_t *bytes, size_t len)
{
    struct frames *frames = ctx;
    frames->count++;
    for (size_t i = 0; i < len; i++)
        frames->bytes += bytes[i];
    return true;
}

/* The same frames and the same end, however the bytes are cut. */
static void check_frames(struct input *input)
{
    struct frames got[2] = {{0, 0}, {0, 0}};
    enum grpc_code codes[2] = {GRPC_OK, GRPC_OK};
    for (size_t way = 0; way < 2; way++) {
        struct grpc_deframer deframer;
        grpc_deframer_init(&deframer, 256);
        size_t step = way == 0 ? input->left : 3;
        for (size_t at = 0; at < input->left && codes[way] == GRPC_OK; at += step) {
            size_t len = input->left - at < step ? input->left - at : step;
            codes[way] = grpc_deframer_feed(&deframer, input->at + at, len, count_frame, &got[way]);
        }
        grpc_deframer_fini(&deframer);
    }
    require(codes[0] == codes[1]);
    require(got[0].count == got[1].count && got[0].bytes == got[1].bytes);
}

static void check_grpc_text(struct input *input)
{
    char *text = input_text(input, 600);
    char *decoded = malloc(strlen(text) + 1);
    struct buffer encoded;
    uint64_t ns;
    uint64_t again;
    char timeout[GRPC_TIMEOUT_TEXT];
    require(decoded != NULL);
    buffer_init(&encoded);
    grpc_percent_encode(&encoded, text);
    require(!buffer_failed(&encoded));
    for (size_t i = 0; i < buffer_len(&encoded); i++)
        require(buffer_data(&encoded)[i] >= 0x20 && buffer_data(&encoded)[i] < 0x7f);
    grpc_percent_decode(decoded, strlen(text) + 1, (const char *)buffer_data(&encoded),
                        buffer_len(&encoded));
    require(strcmp(decoded, text) == 0);
    grpc_percent_decode(decoded, strlen(text) / 2 + 1, text, strlen(text));
    require(strlen(decoded) <= strlen(text) / 2);
    if (grpc_timeout_parse(&ns, text, strlen(text)) && ns != UINT64_MAX) {
        grpc_timeout_format(timeout, ns);
        require(grpc_timeout_parse(&again, timeout, strlen(timeout)));
        require(again == ns || (again < ns ? ns - again : again - ns) <= ns / 100000);
    }
    buffer_fini(&encoded);
    free(decoded);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    uint8_t what = input_byte(&input);
    switch (what % 8) {
    case 0:
        check_address(&input, what >> 3);
        break;
    case 1:
        check_resolv_conf(&input);
        break;
    case 2:
        check_frames(&input);
        break;
    case 3:
        check_grpc_text(&input);
        break;
    case 4:
        check_file(&input, what >> 3);
        break;
    default:
        check_options(&input, what >> 3);
        break;
    }
    return 0;
}
