#include "control/rpc/transport.h"

#include "base/bytes.h"
#include "control/rpc/transport_dial.h"
#include "control/rpc/transport_listener.h"
#include "tests/control/loop_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/stat.h>

static const char cluster_key[] = "0f8fad5b-d9cb-469f-a165-70867728950e";

static uv_loop_t loop;
static char dir[64];          /* of one test */
static char certificates[64]; /* of all tests */

struct end {
    struct transport_conn *conn;
    bool opened;
    bool closed;
    bool got_all;
    unsigned count;
    size_t expect;
    struct {
        uint8_t bytes[1 << 20];
        size_t len;
    } received;
    struct err err;
    struct transport_caller caller;
};

static struct end client;
static struct end server;
static struct transport_listener *listener;
static bool wrong_secret;

static bool find_secret(void *ctx, enum transport_role role, const uint8_t hash[TRANSPORT_HASH_LEN],
                        char secret[TRANSPORT_SECRET_MAX], char id[TRANSPORT_ID_MAX])
{
    uint8_t known[TRANSPORT_HASH_LEN];
    char stretched[TRANSPORT_STRETCHED];
    (void)ctx;
    ck_assert_int_eq(transport_stretch(stretched, cluster_key), 0);
    transport_secret_hash(known, stretched);
    if (role != TRANSPORT_ADMIN || memcmp(known, hash, sizeof known) != 0)
        return false;
    strcpy(secret, wrong_secret ? "another key" : stretched);
    strcpy(id, "the-admin");
    return true;
}

static void on_opened(void *ctx, struct transport_conn *conn)
{
    struct end *end = ctx;
    (void)conn;
    end->opened = true;
}

static void on_received(void *ctx, struct transport_conn *conn, const uint8_t *bytes, size_t len)
{
    struct end *end = ctx;
    (void)conn;
    ck_assert_uint_le(end->received.len + len, sizeof end->received.bytes);
    memcpy(end->received.bytes + end->received.len, bytes, len);
    end->received.len += len;
    end->got_all = end->received.len >= end->expect;
}

static void on_drained(void *ctx, struct transport_conn *conn)
{
    (void)ctx;
    (void)conn;
}

static void on_closed(void *ctx, struct transport_conn *conn, const struct err *err)
{
    struct end *end = ctx;
    (void)conn;
    end->conn = NULL;
    end->closed = true;
    end->err = *err;
}

static const struct transport_events events = {on_opened, on_received, on_drained, on_closed};

static void on_accepted(void *ctx, struct transport_conn *conn)
{
    (void)ctx;
    server.opened = true;
    server.count++;
    server.conn = conn;
    server.caller = *transport_conn_caller(conn);
    transport_conn_set_events(conn, &events, &server);
}

static void setup(void)
{
    uv_loop_init(&loop);
    memset(&client, 0, sizeof client);
    memset(&server, 0, sizeof server);
    wrong_secret = false;
    temp_dir_create(dir);
}

static void teardown(void)
{
    if (client.conn != NULL)
        transport_abort(client.conn, NULL);
    if (server.conn != NULL)
        transport_abort(server.conn, NULL);
    transport_listener_close(listener);
    listener = NULL;
    loop_finish(&loop);
    temp_dir_remove(dir);
}

static struct transport_tls *psk_server(void)
{
    struct transport_tls *tls;
    struct transport_secrets secrets = {find_secret, NULL};
    ck_assert_int_eq(transport_tls_create_psk_server(&tls, secrets, NULL), 0);
    return tls;
}

static struct transport_tls *psk_client(enum transport_role role, const char *secret)
{
    struct transport_tls *tls;
    ck_assert_int_eq(transport_tls_create_psk_client(&tls, role, secret, NULL), 0);
    return tls;
}

static struct transport_tls *plaintext(void)
{
    struct transport_tls *tls;
    ck_assert_int_eq(transport_tls_create_plaintext(&tls, NULL), 0);
    return tls;
}

static void make_certificates(void)
{
    char command[512];
    temp_dir_create(certificates);
    snprintf(command, sizeof command,
             "%s/make_certificates.sh %s && openssl pkey -in %s/node.key -aes128 "
             "-passout pass:secret -out %s/locked.key",
             TEST_SOURCE_DIR, certificates, certificates, certificates);
    ck_assert_int_eq(system(command), 0);
}

static void remove_certificates(void)
{
    temp_dir_remove(certificates);
}

static struct transport_tls *certificate(const char *name, const char *authority)
{
    char cert[128], key[128], ca[128];
    struct transport_tls *tls;
    struct err err = {0};
    snprintf(cert, sizeof cert, "%s/%s.pem", certificates, name);
    snprintf(key, sizeof key, "%s/%s.key", certificates, name);
    snprintf(ca, sizeof ca, "%s/%s.pem", certificates, authority);
    ck_assert_msg(transport_tls_create_certificate(&tls, cert, key, ca, &err) == 0, "%s", err.text);
    return tls;
}

/* A free port of 127.0.0.1, set after address_parse, which takes no port 0. */
static struct address any_port(void)
{
    struct address address;
    ck_assert_int_eq(address_parse(&address, "tcp://127.0.0.1:1", false, NULL), 0);
    address.endpoint.in.sin_port = 0;
    return address;
}

static int listen_at(struct transport_listener **out, const struct address *address,
                     struct transport_tls *tls, const struct transport_limits *limits,
                     struct err *err)
{
    const struct transport_options options = {.address = address, .tls = tls, .limits = limits};
    return transport_listen(out, &loop, &options, on_accepted, NULL, err);
}

static int dial_to(const struct address *address, struct transport_tls *tls)
{
    const struct transport_options options = {.address = address, .tls = tls};
    return transport_dial(&client.conn, &loop, &options, &events, &client, NULL);
}

/* Takes ownership of the TLS settings. */
static void listen_on(struct transport_tls *tls, const struct transport_limits *limits)
{
    struct address address = any_port();
    struct err err = {0};
    ck_assert_msg(listen_at(&listener, &address, tls, limits, &err) == 0, "%s", err.text);
    transport_tls_destroy(tls);
}

static void dial(struct transport_tls *tls, const char *host)
{
    char text[64];
    struct address address;
    snprintf(text, sizeof text, "tcp://%s:%u", host, transport_listener_port(listener));
    ck_assert_int_eq(address_parse(&address, text, true, NULL), 0);
    ck_assert_int_eq(dial_to(&address, tls), 0);
    transport_tls_destroy(tls);
}

/* Sends bytes both ways, then ends. */
static void exchange(void)
{
    static uint8_t data[300000];
    ck_assert(loop_run_until(&loop, &client.opened, 10000));
    ck_assert(loop_run_until(&loop, &server.opened, 10000));
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7 + i / 251);
    server.expect = sizeof data;
    client.expect = 5;
    ck_assert_int_eq(transport_send(client.conn, data, sizeof data), 0);
    ck_assert_int_eq(transport_send(server.conn, (const uint8_t *)"hello", 5), 0);
    ck_assert(loop_run_until(&loop, &server.got_all, 10000));
    ck_assert(loop_run_until(&loop, &client.got_all, 10000));
    ck_assert_mem_eq(server.received.bytes, data, sizeof data);
    ck_assert_mem_eq(client.received.bytes, "hello", 5);
    transport_close(client.conn);
    ck_assert(loop_run_until(&loop, &client.closed, 10000));
    ck_assert(loop_run_until(&loop, &server.closed, 10000));
    ck_assert_int_eq(client.err.code, 0);
    ck_assert_int_eq(server.err.code, 0);
}

START_TEST(psk_works)
{
    listen_on(psk_server(), NULL);
    dial(psk_client(TRANSPORT_ADMIN, cluster_key), "127.0.0.1");
    exchange();
    ck_assert_uint_eq(server.caller.roles, TRANSPORT_ADMIN);
    ck_assert_str_eq(server.caller.id, "the-admin");
    ck_assert_int_eq(strncmp(server.caller.remote, "127.0.0.1:", 10), 0);
}
END_TEST

/* "localhost" may be ::1 first, where nobody listens. */
START_TEST(name_is_resolved)
{
    listen_on(psk_server(), NULL);
    dial(psk_client(TRANSPORT_ADMIN, cluster_key), "localhost");
    exchange();
}
END_TEST

START_TEST(plaintext_works)
{
    listen_on(plaintext(), NULL);
    dial(plaintext(), "127.0.0.1");
    exchange();
    ck_assert_uint_eq(server.caller.roles, TRANSPORT_ANY);
    ck_assert_str_eq(server.caller.id, "");
}
END_TEST

static void expect_failure(int code)
{
    ck_assert(loop_run_until(&loop, &client.closed, 10000));
    ck_assert(!client.opened);
    ck_assert_msg(client.err.code == code, "%d: %s", client.err.code, client.err.text);
    loop_run_for(&loop, 50);
    ck_assert_uint_eq(server.count, 0);
}

START_TEST(unknown_identity)
{
    listen_on(psk_server(), NULL);
    if (_i == 0)
        dial(psk_client(TRANSPORT_ADMIN, "6ba7b810-9dad-11d1-80b4-00c04fd430c8"), "127.0.0.1");
    else
        dial(psk_client(TRANSPORT_PEER, cluster_key), "127.0.0.1"); /* the right key, as a peer */
    expect_failure(TRANSPORT_EUNKNOWN);
}
END_TEST

START_TEST(wrong_key)
{
    wrong_secret = true;
    listen_on(psk_server(), NULL);
    dial(psk_client(TRANSPORT_ADMIN, cluster_key), "127.0.0.1");
    expect_failure(TRANSPORT_EWRONGKEY);
}
END_TEST

START_TEST(impostor_with_certificate)
{
    listen_on(certificate("node", "ca"), NULL);
    dial(psk_client(TRANSPORT_ADMIN, cluster_key), "127.0.0.1");
    expect_failure(TRANSPORT_EIMPOSTOR);
    ck_assert_uint_eq(server.received.len, 0);
}
END_TEST

START_TEST(plaintext_server)
{
    listen_on(plaintext(), NULL);
    dial(psk_client(TRANSPORT_ADMIN, cluster_key), "127.0.0.1");
    /* the server takes the greeting for a request; what it answers is not TLS */
    ck_assert(loop_run_until(&loop, &server.opened, 10000));
    transport_send(server.conn, (const uint8_t *)"HTTP/1.1 400 Bad Request\r\n\r\n", 28);
    ck_assert(loop_run_until(&loop, &client.closed, 10000));
    ck_assert(!client.opened);
    ck_assert_int_eq(client.err.code, TRANSPORT_ETLS);
}
END_TEST

START_TEST(plaintext_client)
{
    listen_on(psk_server(), NULL);
    dial(plaintext(), "127.0.0.1");
    ck_assert(loop_run_until(&loop, &client.opened, 10000));
    transport_send(client.conn, (const uint8_t *)"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    ck_assert(loop_run_until(&loop, &client.closed, 10000));
    ck_assert_uint_eq(server.count, 0);
}
END_TEST

static const struct {
    const char *server, *server_ca, *client, *client_ca;
    bool works;
} pairs[] = {
    {"node", "ca", "admin", "ca", true},       {"node", "ca", "peer", "ca", true},
    {"node", "ca", "nobody", "ca", false},     /* 2: the client has no role */
    {"node", "ca", "stranger", "ca", false},   /* 3: another authority's client */
    {"peer", "ca", "admin", "ca", false},      /* 4: the server is not a node */
    {"node", "ca", "admin", "otherca", false}, /* 5: another authority's server */
    {"stranger", "ca", "admin", "ca", false},  /* 6 */
};

START_TEST(mutual_certificates)
{
    listen_on(certificate(pairs[_i].server, pairs[_i].server_ca), NULL);
    dial(certificate(pairs[_i].client, pairs[_i].client_ca), "127.0.0.1");
    if (pairs[_i].works) {
        exchange();
        ck_assert_str_eq(server.caller.id, _i == 0 ? "alice" : "peer-1");
        ck_assert_uint_eq(server.caller.roles, _i == 0 ? TRANSPORT_ADMIN : TRANSPORT_PEER);
        return;
    }
    /* in TLS 1.3 a client may learn only afterwards that it was refused */
    ck_assert(loop_run_until(&loop, &client.closed, 10000));
    ck_assert_int_ne(client.err.code, 0);
    ck_assert_uint_eq(server.count, 0);
}
END_TEST

START_TEST(psk_client_without_certificate)
{
    listen_on(psk_server(), NULL);
    dial(certificate("admin", "ca"), "127.0.0.1");
    ck_assert(loop_run_until(&loop, &client.closed, 10000));
    ck_assert(!client.opened);
    ck_assert_uint_eq(server.count, 0);
}
END_TEST

static bool child_ended;
static int64_t child_status;

static void on_exit_of_child(uv_process_t *process, int64_t status, int signal)
{
    (void)signal;
    child_ended = true;
    child_status = status;
    uv_close((uv_handle_t *)process, NULL);
}

/* The stock client has the right key, but other settings. */
static const char *const stock_clients[] = {
    "-tls1_2 -psk %s -cipher PSK",
    "-tls1_2",
    "-tls1_3",
    "-tls1_3 -psk %s -psk_identity heimdall -alpn h2",
};

START_TEST(stock_client_is_refused)
{
    char command[512], options[256];
    uv_process_t process;
    uint8_t hash[32];
    char hex[65];
    transport_secret_hash(hash, cluster_key);
    bytes_to_hex(hex, hash, sizeof hash);
    listen_on(psk_server(), NULL);
    ck_assert_int_lt(_i, (int)ARRAY_LEN(stock_clients));
    /* the format has at most one %s */
    const char *mark = strstr(stock_clients[_i], "%s");
    if (mark != NULL)
        snprintf(options, sizeof options, "%.*s%s%s", (int)(mark - stock_clients[_i]),
                 stock_clients[_i], hex, mark + 2);
    else
        snprintf(options, sizeof options, "%s", stock_clients[_i]);
    snprintf(command, sizeof command,
             "exec openssl s_client -connect 127.0.0.1:%u %s </dev/null >/dev/null 2>&1",
             transport_listener_port(listener), options);
    char *args[] = {(char *)"sh", (char *)"-c", command, NULL};
    uv_process_options_t spawn = {.file = "/bin/sh", .args = args, .exit_cb = on_exit_of_child};
    child_ended = false;
    ck_assert_int_eq(uv_spawn(&loop, &process, &spawn), 0);
    ck_assert(loop_run_until(&loop, &child_ended, 10000));
    ck_assert_int_ne(child_status, 0);
    ck_assert_uint_eq(server.count, 0);
}
END_TEST

static int raw_connect(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static bool is_closed_by_server(int fd)
{
    char byte;
    ssize_t len = recv(fd, &byte, 1, MSG_DONTWAIT);
    return len == 0 || (len < 0 && errno != EAGAIN);
}

START_TEST(silent_client_is_dropped)
{
    struct transport_limits limits = transport_limits_default;
    limits.handshake_ms = 150;
    listen_on(psk_server(), &limits);
    int fd = raw_connect(transport_listener_port(listener));
    loop_run_for(&loop, 60);
    ck_assert(!is_closed_by_server(fd));
    loop_run_for(&loop, 300);
    ck_assert(is_closed_by_server(fd));
    close(fd);
}
END_TEST

/* 0: clients that send nothing; 1: clients that have begun their handshake. */
START_TEST(too_many_handshakes)
{
    struct transport_limits limits = transport_limits_default;
    limits.not_begun = _i == 0 ? 2 : 9;
    limits.handshakes = _i == 0 ? 9 : 2;
    listen_on(psk_server(), &limits);
    int fd[3];
    for (int i = 0; i < 3; i++) {
        fd[i] = raw_connect(transport_listener_port(listener));
        if (_i == 1)
            ck_assert_int_eq(write(fd[i], "\x16\x03", 2), 2);
        loop_run_for(&loop, 30);
    }
    /* the oldest makes room, so that a client with a key gets in */
    ck_assert(is_closed_by_server(fd[0]));
    ck_assert(!is_closed_by_server(fd[1]));
    ck_assert(!is_closed_by_server(fd[2]));
    dial(psk_client(TRANSPORT_ADMIN, cluster_key), "127.0.0.1");
    exchange();
    ck_assert(is_closed_by_server(fd[1]));
    ck_assert(!is_closed_by_server(fd[2]));
    for (int i = 0; i < 3; i++)
        close(fd[i]);
}
END_TEST

START_TEST(garbage_is_dropped)
{
    listen_on(psk_server(), NULL);
    for (unsigned seed = 0; seed < 20; seed++) {
        uint8_t junk[500];
        srand(seed);
        for (size_t i = 0; i < sizeof junk; i++)
            junk[i] = (uint8_t)rand();
        int fd = raw_connect(transport_listener_port(listener));
        ck_assert_int_gt(send(fd, junk, sizeof junk, MSG_NOSIGNAL), 0);
        loop_run_for(&loop, 10);
        close(fd);
    }
    dial(psk_client(TRANSPORT_ADMIN, cluster_key), "127.0.0.1");
    exchange();
}
END_TEST

static void unix_address(struct address *out)
{
    char text[128];
    snprintf(text, sizeof text, "unix://%s/control.sock", dir);
    ck_assert_int_eq(address_parse(out, text, false, NULL), 0);
}

START_TEST(unix_socket)
{
    struct address address;
    struct stat st;
    struct transport_listener *second;
    struct err err;
    unix_address(&address);
    ck_assert_int_eq(listen_at(&listener, &address, NULL, NULL, NULL), 0);
    ck_assert_int_eq(stat(address.path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    ck_assert_int_eq(listen_at(&second, &address, NULL, NULL, &err), -EADDRINUSE);
    ck_assert_ptr_nonnull(strstr(err.text, address.path));
    ck_assert_int_eq(stat(address.path, &st), 0);
    /* the second listener probed whether the first one is alive */
    ck_assert(loop_run_until(&loop, &server.closed, 10000));
    memset(&server, 0, sizeof server);
    ck_assert_int_eq(dial_to(&address, NULL), 0);
    exchange();
    ck_assert_uint_eq(server.caller.roles, TRANSPORT_ADMIN);
    transport_listener_close(listener);
    listener = NULL;
    loop_run_for(&loop, 10);
    ck_assert_int_lt(stat(address.path, &st), 0);
}
END_TEST

START_TEST(stale_unix_socket_is_replaced)
{
    struct address address;
    char command[256];
    unix_address(&address);
    snprintf(command, sizeof command,
             "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"%s\")'",
             address.path);
    ck_assert_int_eq(system(command), 0);
    ck_assert_int_eq(listen_at(&listener, &address, NULL, NULL, NULL), 0);
}
END_TEST

START_TEST(other_file_is_kept)
{
    struct address address;
    struct transport_listener *none;
    unix_address(&address);
    FILE *file = fopen(address.path, "w");
    ck_assert_ptr_nonnull(file);
    fclose(file);
    ck_assert_int_lt(listen_at(&none, &address, NULL, NULL, NULL), 0);
    ck_assert_int_eq(access(address.path, F_OK), 0);
}
END_TEST

START_TEST(port_taken)
{
    struct transport_listener *second;
    struct address address = any_port();
    struct err err;
    listen_on(plaintext(), NULL);
    address.endpoint.in.sin_port = htons(transport_listener_port(listener));
    ck_assert_int_eq(listen_at(&second, &address, NULL, NULL, &err), -EADDRINUSE);
    ck_assert_ptr_nonnull(strstr(err.text, "tcp://127.0.0.1:"));
}
END_TEST

START_TEST(nobody_listens)
{
    struct address address;
    listen_on(plaintext(), NULL);
    uint16_t port = transport_listener_port(listener);
    transport_listener_close(listener);
    listener = NULL;
    loop_run_for(&loop, 10);
    ck_assert_int_eq(address_parse(&address, "tcp://127.0.0.1:1", false, NULL), 0);
    address.endpoint.in.sin_port = htons(port);
    ck_assert_int_eq(dial_to(&address, NULL), 0);
    ck_assert(loop_run_until(&loop, &client.closed, 10000));
    ck_assert_int_eq(client.err.code, -ECONNREFUSED);
    ck_assert_ptr_nonnull(strstr(client.err.text, "connection refused"));
}
END_TEST

START_TEST(abort_while_dialing)
{
    struct address address;
    ck_assert_int_eq(address_parse(&address, "tcp://localhost:9", true, NULL), 0);
    ck_assert_int_eq(dial_to(&address, NULL), 0);
    transport_abort(client.conn, NULL);
    ck_assert(loop_run_until(&loop, &client.closed, 10000));
}
END_TEST

/* Known answers, computed with Python's hashlib and hmac. */
START_TEST(key_derivation)
{
    uint8_t hash[32], key[32];
    char hex[65];
    transport_secret_hash(hash, cluster_key);
    bytes_to_hex(hex, hash, sizeof hash);
    ck_assert_str_eq(hex, "e04706996f4ef6fbbffb46ae7504e33e491466f4d031fcb7fa28ee1c1a7c3f23");
    ck_assert_int_eq(transport_derive(key, sizeof key, cluster_key, "tls psk admin"), 0);
    bytes_to_hex(hex, key, sizeof key);
    ck_assert_str_eq(hex, "f17ae07f3fe3c5963796d8991effe862135dd6b723b7d7d58050b4479105c106");
}
END_TEST

/* Known answers, computed with Python's hashlib: PBKDF2 for what a program made, else scrypt. */
static const struct {
    const char *secret, *stretched;
} stretches[] = {
    {"0f8fad5b-d9cb-469f-a165-70867728950e",
     "f4978a53c0e71f83b9553073a3a069afe012034313aaa0d32847ead082a86ca3"},
    {"83749201283749201283749201283749",
     "5e9e31c6ca1b459267bc630982f13bbe4d9e972d5d71e50960aa7d098cd344df"},
    {"6ba7b810-9dad-11d1-80b4-00c04fd430c8",
     "313f7b1a60fea25b483d02391f05d8a264d213bdea687825a01de"
     "1250b354eca"},                         /* 2: version 1: a time and an address */
    {"6ba7b810-9dad-11d1-00b4-00c04fd430c8", /* 3: of no version, as hctl makes it */
     "72262ab1591aac28999d0e1fcba7d19609daf2530217f77d3f8b8453632bfa19"},
    {"correct-horse-battery-staple",
     "6755bed094395776e011ff6adb81e7055ed8508deb60369c32511a514e979eef"},
    {"Correct horse battery staple 99!",
     "099034b0ed576e08f040868b6430677af09d42e63c1acfe8570dfd50c3d980f5"},
};

START_TEST(stretched_secrets)
{
    char text[TRANSPORT_STRETCHED];
    uint8_t hash[TRANSPORT_HASH_LEN], bare[TRANSPORT_HASH_LEN];
    ck_assert_int_eq(transport_stretch(text, stretches[_i].secret), 0);
    ck_assert_str_eq(text, stretches[_i].stretched);
    transport_secret_hash(hash, text);
    transport_secret_hash(bare, stretches[_i].secret);
    ck_assert_mem_ne(hash, bare, sizeof hash);
}
END_TEST

/* NULL: a good file. The others are missing, or hold something else. */
static const struct {
    const char *cert, *key, *ca;
    const char *said;
} bad_files[] = {
    {"/none", NULL, NULL, "option --cert: file /none: No such file or directory"},
    {NULL, "/none", NULL, "option --key: file /none: No such file or directory"},
    {NULL, NULL, "/none", "option --ca: file /none: No such file or directory"},
    {"/dev/null", NULL, NULL, "option --cert: file /dev/null: holds no certificate"},
    {NULL, "/dev/null", NULL, "option --key: file /dev/null: holds no private key"},
    {NULL, NULL, "/dev/null", "option --ca: file /dev/null: holds no certificate"},
    {NULL, "locked.key", NULL, "without a password"},
    {NULL, "peer.key", NULL, "peer.key: does not belong to --cert"},
};

static const char *file_or(char out[128], const char *name, const char *otherwise)
{
    if (name != NULL && name[0] == '/')
        return name;
    snprintf(out, 128, "%s/%s", certificates, name != NULL ? name : otherwise);
    return out;
}

START_TEST(certificate_files_are_checked)
{
    struct transport_tls *tls;
    struct err err;
    char cert[128], key[128], ca[128];
    ck_assert_int_lt(
        transport_tls_create_certificate(&tls, file_or(cert, bad_files[_i].cert, "node.pem"),
                                         file_or(key, bad_files[_i].key, "node.key"),
                                         file_or(ca, bad_files[_i].ca, "ca.pem"), &err),
        0);
    ck_assert_msg(strstr(err.text, bad_files[_i].said) != NULL, "%s", err.text);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("transport");
    tcase_set_timeout(tc, 30);
    tcase_add_unchecked_fixture(tc, make_certificates, remove_certificates);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, psk_works);
    tcase_add_test(tc, name_is_resolved);
    tcase_add_test(tc, plaintext_works);
    tcase_add_loop_test(tc, unknown_identity, 0, 2);
    tcase_add_test(tc, wrong_key);
    tcase_add_test(tc, impostor_with_certificate);
    tcase_add_test(tc, plaintext_server);
    tcase_add_test(tc, plaintext_client);
    tcase_add_loop_test(tc, mutual_certificates, 0, (int)ARRAY_LEN(pairs));
    tcase_add_test(tc, psk_client_without_certificate);
    tcase_add_loop_test(tc, stock_client_is_refused, 0, (int)ARRAY_LEN(stock_clients));
    tcase_add_test(tc, silent_client_is_dropped);
    tcase_add_loop_test(tc, too_many_handshakes, 0, 2);
    tcase_add_test(tc, garbage_is_dropped);
    tcase_add_test(tc, unix_socket);
    tcase_add_test(tc, stale_unix_socket_is_replaced);
    tcase_add_test(tc, other_file_is_kept);
    tcase_add_test(tc, port_taken);
    tcase_add_test(tc, nobody_listens);
    tcase_add_test(tc, abort_while_dialing);
    tcase_add_test(tc, key_derivation);
    tcase_add_loop_test(tc, stretched_secrets, 0, (int)ARRAY_LEN(stretches));
    tcase_add_loop_test(tc, certificate_files_are_checked, 0, (int)ARRAY_LEN(bad_files));
    return unit_run(tc);
}
