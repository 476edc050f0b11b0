#include "control/host/identity.h"

#include "base/bytes.h"
#include "control/api/keyring.h"
#include "control/host/datadir.h"
#include "control/rpc/transport_dial.h"
#include "control/rpc/transport_listener.h"
#include "tests/control/loop_fixture.h"
#include "tests/wg/memory_scan.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/random.h>

/* What the control plane holds of secrets while it runs is nowhere in the memory of the process
 * once it has ended: heap, data, and the stack on which it ran. As in tests/wg/test_secrets.c, all
 * of it runs in a thread of its own, and the main thread looks. */

enum { NODE, PEER, ENDS };

static struct secret secrets[6]; /* of each end: its private key, key or id, pre-shared key */
static pthread_barrier_t barrier;
static char dirs[ENDS][64];
static struct datadir *folders[ENDS];
static struct identity identities[ENDS];
static struct keyring *keyring;
static struct transport_tls *tls[ENDS];
static struct transport_listener *listener;
static struct transport_conn *accepted;
static struct transport_conn *dialed;
static bool opened, received, closed;
static uv_loop_t loop;

/* A file with a line of random characters, as the program's own are. */
static void make_file(int end, const char *name, size_t bytes)
{
    uint8_t random[32];
    char path[128], line[64];
    ck_assert_int_eq(getrandom(random, bytes, 0), (ssize_t)bytes);
    if (bytes == sizeof random)
        bytes_to_base64(line, random, bytes);
    else
        bytes_to_hex(line, random, bytes);
    snprintf(path, sizeof path, "%s/%s", dirs[end], name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_eq(write(fd, line, strlen(line)), (ssize_t)strlen(line));
    ck_assert_int_eq(close(fd), 0);
    bytes_wipe(random, sizeof random);
    bytes_wipe(line, sizeof line);
}

static void note_derived(struct secret *secret, const char *name, const char *from,
                         const char *label)
{
    uint8_t key[SECRET_LEN];
    char stretched[TRANSPORT_STRETCHED];
    ck_assert_int_eq(transport_stretch(stretched, from), 0);
    ck_assert_int_eq(transport_derive(key, sizeof key, stretched, label), 0);
    secret_note(secret, name, key);
    bytes_wipe(key, sizeof key);
    bytes_wipe(stretched, sizeof stretched);
}

static void load_identities(void)
{
    struct err err = {0};
    for (int end = 0; end < ENDS; end++) {
        temp_dir_create(dirs[end]);
        make_file(end, "wireguard.key", 32);
        make_file(end, "id", 16);
        if (end == NODE)
            make_file(end, "cluster.key", 20);
        ck_assert_int_eq(datadir_open(&folders[end], dirs[end], &err), 0);
    }
    ck_assert_msg(identity_load_node(&identities[NODE], folders[NODE], NULL, NULL, &err) == 0, "%s",
                  err.text);
    ck_assert_msg(identity_load_peer(&identities[PEER], folders[PEER], NULL, &err) == 0, "%s",
                  err.text);
    secret_note(&secrets[0], "node's private key", identities[NODE].private_key);
    secret_note(&secrets[1], "cluster key", (const uint8_t *)identities[NODE].cluster_key);
    note_derived(&secrets[2], "pre-shared key", identities[NODE].cluster_key, "tls psk admin");
    secret_note(&secrets[3], "peer's private key", identities[PEER].private_key);
    secret_note(&secrets[4], "peer's id", (const uint8_t *)identities[PEER].id);
    note_derived(&secrets[5], "peer's pre-shared key", identities[PEER].id, "tls psk peer");
}

static void on_opened(void *ctx, struct transport_conn *conn)
{
    (void)ctx;
    (void)conn;
    opened = true;
}

static void on_received(void *ctx, struct transport_conn *conn, const uint8_t *bytes, size_t len)
{
    (void)ctx;
    (void)conn;
    received = len == 5 && memcmp(bytes, "hello", 5) == 0;
}

static void on_drained(void *ctx, struct transport_conn *conn)
{
    (void)ctx;
    (void)conn;
}

static void on_closed(void *ctx, struct transport_conn *conn, const struct err *err)
{
    (void)ctx;
    (void)err;
    closed = true;
    *(conn == accepted ? &accepted : &dialed) = NULL;
}

static const struct transport_events events = {on_opened, on_received, on_drained, on_closed};

static void on_accepted(void *ctx, struct transport_conn *conn)
{
    (void)ctx;
    accepted = conn;
    transport_conn_set_events(conn, &events, NULL);
}

/* An administrator's connection to the node; the peer's settings lie ready beside it. */
static void connect_ends(void)
{
    static const uint8_t seed[16] = {1};
    struct transport_tls *client;
    struct address address;
    char text[64];
    struct err err = {0};
    uv_loop_init(&loop);
    ck_assert_int_eq(keyring_create(&keyring, identities[NODE].cluster_key, seed), 0);
    ck_assert_int_eq(transport_tls_create_psk_server(&tls[NODE], keyring_secrets(keyring), &err),
                     0);
    ck_assert_int_eq(
        transport_tls_create_psk_client(&tls[PEER], TRANSPORT_PEER, identities[PEER].id, &err), 0);
    ck_assert_int_eq(transport_tls_create_psk_client(&client, TRANSPORT_ADMIN,
                                                     identities[NODE].cluster_key, &err),
                     0);
    ck_assert_int_eq(address_parse(&address, "tcp://127.0.0.1:1", false, NULL), 0);
    address.endpoint.in.sin_port = 0;
    struct transport_options options = {.address = &address, .tls = tls[NODE]};
    ck_assert_int_eq(transport_listen(&listener, &loop, &options, on_accepted, NULL, &err), 0);
    snprintf(text, sizeof text, "tcp://127.0.0.1:%u", transport_listener_port(listener));
    ck_assert_int_eq(address_parse(&address, text, true, NULL), 0);
    options.tls = client;
    ck_assert_int_eq(transport_dial(&dialed, &loop, &options, &events, NULL, &err), 0);
    transport_tls_destroy(client);
    ck_assert(loop_run_until(&loop, &opened, 5000));
    ck_assert_int_eq(transport_send(dialed, (const uint8_t *)"hello", 5), 0);
    ck_assert(loop_run_until(&loop, &received, 5000));
}

static void end_all(void)
{
    transport_close(dialed);
    while (dialed != NULL || accepted != NULL) {
        closed = false;
        ck_assert(loop_run_until(&loop, &closed, 5000));
    }
    transport_listener_close(listener);
    loop_finish(&loop);
    keyring_destroy(keyring);
    for (int end = 0; end < ENDS; end++) {
        transport_tls_destroy(tls[end]);
        identity_fini(&identities[end]);
        datadir_close(folders[end]);
        temp_dir_remove(dirs[end]);
    }
}

static void pause_for_scan(void)
{
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
}

static void *run(void *ctx)
{
    (void)ctx;
    load_identities();
    connect_ends();
    pause_for_scan();
    end_all();
    pause_for_scan();
    return NULL;
}

static void look(bool ended)
{
    pthread_barrier_wait(&barrier);
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
        size_t count = secret_count(&secrets[i]);
        ck_assert_msg((count == 0) == ended, "%s: found %zu times", secrets[i].name, count);
    }
    pthread_barrier_wait(&barrier);
}

START_TEST(nothing_is_left)
{
    pthread_t thread;
    ck_assert_int_eq(pthread_barrier_init(&barrier, NULL, 2), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, run, NULL), 0);
    look(false);
    look(true);
    pthread_join(thread, NULL);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("control secrets");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, nothing_is_left);
    return unit_run(tc);
}
