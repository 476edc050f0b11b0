#include "control/host/identity.h"

#include "base/bytes.h"
#include "control/host/datadir.h"
#include "tests/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ID    "9c76f92d-d55a-46c0-84d6-58c981442830"
#define OTHER "0d3f5bc1-92a7-4c56-a2d2-ff60a1be37d4"

static char root[64];
static char path[128];

static void make_root(void)
{
    snprintf(root, sizeof root, "/tmp/test-identity-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    snprintf(path, sizeof path, "%s/a/b/data", root);
}

static void remove_root(void)
{
    char command[96];
    snprintf(command, sizeof command, "rm -rf %s", root);
    ck_assert_int_eq(system(command), 0);
}

static unsigned mode_of(const char *name)
{
    char file[192];
    struct stat st;
    snprintf(file, sizeof file, "%s/%s", path, name);
    ck_assert_int_eq(stat(file, &st), 0);
    return st.st_mode & 07777;
}

static void put(const char *name, const char *content)
{
    char file[192];
    snprintf(file, sizeof file, "%s/%s", path, name);
    FILE *out = fopen(file, "w");
    ck_assert_ptr_nonnull(out);
    fputs(content, out);
    fclose(out);
}

static bool has(const char *name)
{
    char file[192];
    snprintf(file, sizeof file, "%s/%s", path, name);
    return access(file, F_OK) == 0;
}

static struct datadir *open_dir(void)
{
    struct datadir *dir;
    struct err err = {0};
    ck_assert_msg(datadir_open(&dir, path, &err) == 0, "%s", err.text);
    return dir;
}

START_TEST(makes_everything_once)
{
    struct identity first;
    struct identity second;
    struct err err;
    struct datadir *dir = open_dir();
    ck_assert_uint_eq(mode_of("."), 0700);
    ck_assert_int_eq(identity_load_node(&first, dir, NULL, NULL, &err), 0);
    ck_assert(first.made_id && first.made_cluster_key);
    ck_assert_uint_eq(strlen(first.id), 36);
    ck_assert_uint_eq(strlen(first.cluster_key), 36);
    ck_assert_str_ne(first.id, first.cluster_key);
    ck_assert_uint_eq(first.private_key[0] & 7, 0);
    ck_assert_uint_eq(first.private_key[31] & 0xc0, 0x40);
    ck_assert_uint_eq(mode_of("id"), 0600);
    ck_assert_uint_eq(mode_of("wireguard.key"), 0600);
    ck_assert_uint_eq(mode_of("cluster.key"), 0600);
    datadir_close(dir);

    dir = open_dir();
    ck_assert_int_eq(identity_load_node(&second, dir, NULL, NULL, &err), 0);
    ck_assert(!second.made_id && !second.made_cluster_key);
    ck_assert_str_eq(first.id, second.id);
    ck_assert_str_eq(first.cluster_key, second.cluster_key);
    ck_assert_mem_eq(first.private_key, second.private_key, 32);
    identity_fini(&second);
    ck_assert(bytes_is_zero_ct(&second, sizeof second));
    datadir_close(dir);
}
END_TEST

START_TEST(options_of_a_node)
{
    struct identity identity;
    struct err err;
    struct datadir *dir = open_dir();
    ck_assert_int_eq(identity_load_node(&identity, dir, ID, OTHER, &err), 0);
    ck_assert_str_eq(identity.id, ID);
    ck_assert_str_eq(identity.cluster_key, OTHER);
    /* another id is another node */
    ck_assert_int_eq(identity_load_node(&identity, dir, OTHER, NULL, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, ID));
    ck_assert(bytes_is_zero_ct(&identity, sizeof identity));
    /* another cluster key is another cluster; the text has neither key in it */
    ck_assert_int_eq(identity_load_node(&identity, dir, NULL, ID, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "belongs to another cluster"));
    ck_assert(strstr(err.text, ID) == NULL && strstr(err.text, OTHER) == NULL);
    ck_assert_int_eq(identity_load_node(&identity, dir, NULL, OTHER, &err), 0);
    ck_assert_int_eq(identity_load_node(&identity, dir, NULL, NULL, &err), 0);
    ck_assert_str_eq(identity.cluster_key, OTHER);
    ck_assert_str_eq(identity.id, ID);
    datadir_close(dir);
}
END_TEST

/* A folder belongs to a node or to a peer, never to both. */
START_TEST(not_of_the_other_program)
{
    struct identity identity;
    struct err err;
    struct datadir *dir = open_dir();
    ck_assert_int_eq(identity_load_peer(&identity, dir, NULL, &err), 0);
    ck_assert_int_eq(identity_load_node(&identity, dir, NULL, OTHER, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "belongs to a peer (hpeer)"));
    ck_assert(!has("cluster.key"));
    put("cluster.key", OTHER "\n");
    ck_assert_int_eq(identity_load_node(&identity, dir, NULL, NULL, &err), 0);
    ck_assert_int_eq(identity_load_peer(&identity, dir, ID, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.text, "belongs to a node (heimdall)"));
    datadir_close(dir);
}
END_TEST

START_TEST(peer_keeps_only_an_id_that_it_made)
{
    struct identity given;
    struct identity made;
    struct identity kept;
    struct err err;
    struct datadir *dir = open_dir();
    ck_assert_int_eq(identity_load_peer(&given, dir, ID, &err), 0);
    ck_assert_str_eq(given.id, ID);
    ck_assert(!has("id") && !has("cluster.key") && has("wireguard.key"));
    ck_assert_int_eq(identity_load_peer(&made, dir, NULL, &err), 0);
    ck_assert_str_ne(made.id, ID);
    ck_assert_int_eq(identity_load_peer(&kept, dir, NULL, &err), 0);
    ck_assert_str_eq(made.id, kept.id);
    ck_assert_mem_eq(given.private_key, kept.private_key, 32);
    datadir_close(dir);
}
END_TEST

/* Each row is a file with forbidden content; nothing else is created or changed. */
static const struct {
    const char *file;
    const char *content;
} malformed[] = {
    {"id", ""},
    {"id", "laptop\n"},
    {"id", ID "\nsecond line\n"},
    {"id", ID "\n\n"},
    {"cluster.key", "short"},
    {"wireguard.key", "AAAA\n"},
    {"wireguard.key", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"},
    {"wireguard.key", "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmkX\n"},
};

START_TEST(names_a_malformed_file_and_changes_nothing)
{
    struct identity identity;
    struct err err = {0};
    struct datadir *dir = open_dir();
    put(malformed[_i].file, malformed[_i].content);
    ck_assert_int_eq(identity_load_node(&identity, dir, NULL, NULL, &err), -EINVAL);
    ck_assert_msg(strstr(err.text, malformed[_i].file) != NULL, "%s", err.text);
    ck_assert_ptr_nonnull(strstr(err.text, path));
    ck_assert_int_eq(has("id") + has("cluster.key") + has("wireguard.key"), 1);
    ck_assert(bytes_is_zero_ct(&identity, sizeof identity));
    datadir_close(dir);
}
END_TEST

START_TEST(a_missing_line_end_and_crlf_are_fine)
{
    static const char *const contents[] = {ID, ID "\n", ID "\r\n"};
    struct identity identity;
    struct err err;
    struct datadir *dir = open_dir();
    put("id", contents[_i]);
    ck_assert_int_eq(identity_load_node(&identity, dir, NULL, NULL, &err), 0);
    ck_assert_str_eq(identity.id, ID);
    datadir_close(dir);
}
END_TEST

START_TEST(the_lock_names_its_holder)
{
    int ready[2];
    int done[2];
    ck_assert_int_eq(pipe(ready) + pipe(done), 0);
    pid_t child = fork();
    if (child == 0) {
        struct datadir *dir;
        char c = datadir_open(&dir, path, NULL) == 0 ? 'y' : 'n';
        close(done[1]);
        (void)!write(ready[1], &c, 1);
        (void)!read(done[0], &c, 1);
        _exit(0);
    }
    char c;
    ck_assert_int_eq(read(ready[0], &c, 1), 1);
    ck_assert_int_eq(c, 'y');
    struct datadir *dir;
    struct err err = {0};
    char pid[32];
    snprintf(pid, sizeof pid, "process %d", (int)child);
    ck_assert_int_eq(datadir_open(&dir, path, &err), -EBUSY);
    ck_assert_msg(strstr(err.text, pid) != NULL, "%s", err.text);
    ck_assert_ptr_null(dir);
    close(done[1]);
    waitpid(child, NULL, 0);
    datadir_close(open_dir()); /* free again */
}
END_TEST

START_TEST(others_are_shut_out)
{
    datadir_close(open_dir());
    ck_assert_int_eq(chmod(path, 0755), 0);
    datadir_close(open_dir());
    ck_assert_uint_eq(mode_of("."), 0700);
}
END_TEST

START_TEST(not_a_folder)
{
    struct datadir *dir;
    struct err err = {0};
    snprintf(path, sizeof path, "%s/file", root);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    ck_assert_int_lt(datadir_open(&dir, path, &err), 0);
    ck_assert_ptr_nonnull(strstr(err.text, path));
    snprintf(path, sizeof path, "%s/file/below", root);
    ck_assert_int_lt(datadir_open(&dir, path, &err), 0);
    ck_assert_ptr_nonnull(strstr(err.text, path));
}
END_TEST

START_TEST(writes_leave_nothing_beside)
{
    char line[64];
    struct err err;
    struct datadir *dir = open_dir();
    ck_assert_int_eq(datadir_read(dir, "x", line, sizeof line, &err), -ENOENT);
    ck_assert_int_eq(datadir_write(dir, "x", "one", &err), 0);
    ck_assert_int_eq(datadir_write(dir, "x", "two", &err), 0);
    ck_assert_int_eq(datadir_read(dir, "x", line, sizeof line, &err), 0);
    ck_assert_str_eq(line, "two");
    ck_assert(!has("x.new"));
    /* a folder in the way cannot be replaced */
    char folder[192];
    snprintf(folder, sizeof folder, "%s/y", path);
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    ck_assert_int_lt(datadir_write(dir, "y", "one", &err), 0);
    ck_assert(!has("y.new"));
    datadir_close(dir);
}
END_TEST

/* A key file that people edit and copy. */
static const struct {
    const char *content;
    bool good;
} key_files[] = {
    {ID "\n", true},
    {ID, true},
    {"\xef\xbb\xbf" ID "\r\n", true},
    {"\n  " ID " \n\n", true},
    {ID "\n" OTHER "\n", false},
    {"", false},
    {"\n", false},
    {"\xff\xfe" ID, false},
};

START_TEST(cluster_key_of_a_file)
{
    char file[96];
    char key[ACCESS_ID_MAX + 1];
    struct err err;
    snprintf(file, sizeof file, "%s/key", root);
    FILE *out = fopen(file, "w");
    ck_assert_ptr_nonnull(out);
    fputs(key_files[_i].content, out);
    fclose(out);
    int code = identity_read_key_option(file, key, &err);
    ck_assert_int_eq(code, key_files[_i].good ? 0 : -EINVAL);
    if (key_files[_i].good)
        ck_assert_str_eq(key, ID);
    else
        ck_assert_ptr_nonnull(strstr(err.text, "option --cluster-key-file"));
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("identity");
    tcase_add_checked_fixture(tc, make_root, remove_root);
    tcase_add_test(tc, makes_everything_once);
    tcase_add_test(tc, options_of_a_node);
    tcase_add_test(tc, not_of_the_other_program);
    tcase_add_test(tc, peer_keeps_only_an_id_that_it_made);
    tcase_add_loop_test(tc, cluster_key_of_a_file, 0, ARRAY_LEN(key_files));
    tcase_add_loop_test(tc, names_a_malformed_file_and_changes_nothing, 0, ARRAY_LEN(malformed));
    tcase_add_loop_test(tc, a_missing_line_end_and_crlf_are_fine, 0, 3);
    tcase_add_test(tc, the_lock_names_its_holder);
    tcase_add_test(tc, others_are_shut_out);
    tcase_add_test(tc, not_a_folder);
    tcase_add_test(tc, writes_leave_nothing_beside);
    return unit_run(tc);
}
