#include "control/host/resolver.h"

#include "base/err.h"
#include "tests/unit.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];
static char state[96];
static char conf[96];
static char tool[96];
static char tool_log[96];
static char stub_dir[96];
static char socket_path[128];
static struct resolver_paths paths;
static struct ip_addr ours[4];

static void put(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

static const char *get(const char *path)
{
    static char text[8192];
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return "(none)";
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

static void setup(void)
{
    strcpy(folder, "/tmp/heimdall-resolver-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(state, sizeof state, "%s/state", folder);
    snprintf(conf, sizeof conf, "%s/resolv.conf", folder);
    snprintf(tool, sizeof tool, "%s/tool", folder);
    snprintf(tool_log, sizeof tool_log, "%s/tool.log", folder);
    snprintf(stub_dir, sizeof stub_dir, "%s/run", folder);
    snprintf(socket_path, sizeof socket_path, "%s/socket", stub_dir);
    mkdir(state, 0700);
    mkdir(stub_dir, 0700);
    paths = (struct resolver_paths){.resolv_conf = conf, .state_dir = state};
    paths.resolved = socket_path;
    ip_addr_parse(&ours[0], "10.11.0.1");
    ip_addr_parse(&ours[1], "fd00::1");
    ip_addr_parse(&ours[2], "10.12.0.1");
    ip_addr_parse(&ours[3], "10.13.0.1");
}

static void teardown(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
}

static struct resolver_setup make_setup(size_t count, bool keep)
{
    return (struct resolver_setup){.nameservers = ours,
                                   .nameserver_count = count,
                                   .domain = "heimdall",
                                   .interface = "darknet",
                                   .keep_former = keep};
}

/* A tool that appends its arguments and standard input to a file. */
static void put_tool(int status)
{
    char text[512];
    snprintf(text, sizeof text, "#!/bin/sh\n{ echo \"$@\"; cat; } >> %s\nexit %d\n", tool_log,
             status);
    put(tool, text);
    ck_assert_int_eq(chmod(tool, 0755), 0);
}

static const struct {
    const char *former;
    size_t nameservers;
    bool keep;
    const char *expected; /* without the marker line */
} written[] = {
    {"", 1, true, "nameserver 10.11.0.1\nsearch heimdall\n"},
    {"nameserver 8.8.8.8\n", 1, true,
     "nameserver 10.11.0.1\nnameserver 8.8.8.8\nsearch heimdall\n"},
    {"nameserver 8.8.8.8\n", 1, false, "nameserver 10.11.0.1\nsearch heimdall\n"},
    {"nameserver 1.1.1.1\nnameserver 2.2.2.2\nnameserver 3.3.3.3\n", 1, true,
     "nameserver 10.11.0.1\nnameserver 1.1.1.1\nnameserver 2.2.2.2\nsearch heimdall\n"},
    {"nameserver 1.1.1.1\nnameserver 2.2.2.2\n", 2, true,
     "nameserver 10.11.0.1\nnameserver fd00::1\nnameserver 1.1.1.1\nsearch heimdall\n"},
    {"nameserver 10.11.0.1\nnameserver 1.1.1.1\n", 1, true,
     "nameserver 10.11.0.1\nnameserver 1.1.1.1\nsearch heimdall\n"},
    {"search corp.example lan\nnameserver 1.1.1.1\noptions ndots:5 timeout:1\n", 1, true,
     "nameserver 10.11.0.1\nnameserver 1.1.1.1\nsearch heimdall corp.example lan\n"
     "options ndots:5 timeout:1\n"},
    {"search a\ndomain\tb\n", 1, true, "nameserver 10.11.0.1\nsearch heimdall b\n"},
    {"search Heimdall lan\n", 1, true, "nameserver 10.11.0.1\nsearch heimdall lan\n"},
    {"# kept\n; kept too\nsortlist 10.0.0.0\noptions edns0", 3, true,
     "nameserver 10.11.0.1\nnameserver fd00::1\nnameserver 10.12.0.1\nsearch heimdall\n"
     "# kept\n; kept too\nsortlist 10.0.0.0\noptions edns0\n"},
    {"nameserver fe80::1%lo\nnameserver junk\nnameserver 1.1.1.1 # home\r\n", 1, true,
     "nameserver 10.11.0.1\nnameserver fe80::1%lo\nnameserver 1.1.1.1\nsearch heimdall\n"},
};

START_TEST(file_is_written_in_place_and_put_back)
{
    struct err err;
    struct stat before;
    struct stat after;
    struct resolver_setup wanted = make_setup(written[_i].nameservers, written[_i].keep);
    put(conf, written[_i].former);
    ck_assert_int_eq(stat(conf, &before), 0);
    ck_assert_int_eq(resolver_apply(&paths, &wanted, &err), 0);
    const char *text = get(conf);
    ck_assert(strncmp(text, "# heimdall", 10) == 0);
    ck_assert_str_eq(strchr(text, '\n') + 1, written[_i].expected);
    ck_assert_int_eq(resolver_restore(&paths, &err), 0);
    ck_assert_str_eq(get(conf), written[_i].former);
    ck_assert_int_eq(stat(conf, &after), 0);
    ck_assert_int_eq((int)(before.st_ino == after.st_ino), 1);
    ck_assert_int_eq(rmdir(state), 0); /* nothing left in it */
}
END_TEST

START_TEST(applying_again_keeps_the_first_copy)
{
    struct err err;
    struct resolver_setup first = make_setup(1, true);
    struct resolver_setup second = make_setup(2, false);
    put(conf, "nameserver 9.9.9.9\n");
    ck_assert_int_eq(resolver_apply(&paths, &first, &err), 0);
    ck_assert_int_eq(resolver_apply(&paths, &second, &err), 0);
    ck_assert_str_eq(strchr(get(conf), '\n') + 1,
                     "nameserver 10.11.0.1\nnameserver fd00::1\nsearch heimdall\n");
    ck_assert_int_eq(resolver_restore(&paths, &err), 0);
    ck_assert_str_eq(get(conf), "nameserver 9.9.9.9\n");
    ck_assert_int_eq(resolver_restore(&paths, &err), 0);
    ck_assert_str_eq(get(conf), "nameserver 9.9.9.9\n");
}
END_TEST

START_TEST(a_file_without_the_marker_is_left_alone)
{
    struct err err;
    struct resolver_setup wanted = make_setup(1, true);
    put(conf, "nameserver 9.9.9.9\n");
    ck_assert_int_eq(resolver_apply(&paths, &wanted, &err), 0);
    put(conf, "# from dhcp\nnameserver 7.7.7.7\n");
    ck_assert_int_eq(resolver_restore(&paths, &err), 0);
    ck_assert_str_eq(get(conf), "# from dhcp\nnameserver 7.7.7.7\n");
    ck_assert_int_eq(rmdir(state), 0);
}
END_TEST

START_TEST(a_file_that_others_wrote_over_is_lost)
{
    struct err err;
    char other[128];
    struct resolver_paths others = paths;
    struct resolver_setup wanted = make_setup(1, true);
    put(conf, "nameserver 9.9.9.9\n");
    ck_assert(!resolver_is_lost(&paths));
    ck_assert_int_eq(resolver_apply(&paths, &wanted, &err), 0);
    ck_assert(!resolver_is_lost(&paths));
    put(conf, "# from dhcp\nnameserver 7.7.7.7\n");
    ck_assert(resolver_is_lost(&paths));
    ck_assert_int_eq(resolver_apply(&paths, &wanted, &err), 0);
    ck_assert(!resolver_is_lost(&paths));
    ck_assert_int_eq(unlink(conf), 0);
    ck_assert(resolver_is_lost(&paths));
    put(conf, "# from dhcp\nnameserver 7.7.7.7\n");
    ck_assert_int_eq(resolver_apply(&paths, &wanted, &err), 0);
    snprintf(other, sizeof other, "%s/other", folder);
    mkdir(other, 0700);
    others.state_dir = other;
    ck_assert_int_eq(resolver_apply(&others, &wanted, &err), 0);
    ck_assert(!resolver_is_lost(&paths));
    ck_assert_int_eq(resolver_restore(&others, &err), 0);
    ck_assert_int_eq(resolver_restore(&paths, &err), 0);
    ck_assert_str_eq(get(conf), "# from dhcp\nnameserver 7.7.7.7\n");
}
END_TEST

START_TEST(a_file_of_another_program_of_ours_is_not_ours)
{
    struct err err;
    char other[128];
    struct resolver_paths others = paths;
    struct resolver_setup wanted = make_setup(1, true);
    snprintf(other, sizeof other, "%s/other", folder);
    mkdir(other, 0700);
    others.state_dir = other;
    put(conf, "nameserver 9.9.9.9\n");
    ck_assert_int_eq(resolver_apply(&paths, &wanted, &err), 0);
    ck_assert_int_eq(resolver_apply(&others, &wanted, &err), 0);
    ck_assert_int_eq(resolver_restore(&others, &err), 0);
    ck_assert_int_eq(resolver_restore(&paths, &err), 0);
    ck_assert_str_eq(get(conf), "nameserver 9.9.9.9\n");
}
END_TEST

/* Two programs of this project. 0: the second ends first; 1: the first does; 2 and 3: the same
 * without a file before. */
START_TEST(programs_end_in_any_order)
{
    struct err err;
    char other[128];
    struct resolver_paths others = paths;
    struct resolver_setup wanted = make_setup(1, true);
    const char *before = _i < 2 ? "nameserver 9.9.9.9\n" : "(none)";
    snprintf(other, sizeof other, "%s/other", folder);
    mkdir(other, 0700);
    others.state_dir = other;
    if (_i < 2)
        put(conf, before);
    ck_assert_int_eq(resolver_apply(&paths, &wanted, &err), 0);
    ck_assert_int_eq(resolver_apply(&others, &wanted, &err), 0);
    ck_assert_int_eq(resolver_restore(_i % 2 == 0 ? &others : &paths, &err), 0);
    ck_assert(strncmp(get(conf), "# heimdall", 10) == 0);
    ck_assert_int_eq(resolver_restore(_i % 2 == 0 ? &paths : &others, &err), 0);
    ck_assert_str_eq(get(conf), _i == 3 ? "" : before);
    ck_assert_int_eq(rmdir(state), 0);
    ck_assert_int_eq(rmdir(other), 0);
}
END_TEST

START_TEST(a_missing_file_is_made_and_removed)
{
    struct err err;
    struct resolver_setup wanted = make_setup(1, true);
    struct resolver_upstreams upstreams;
    ck_assert_int_eq(resolver_read(&paths, NULL, 0, &upstreams, &err), 0);
    ck_assert_uint_eq(upstreams.count, 0);
    ck_assert_int_eq(resolver_apply(&paths, &wanted, &err), 0);
    ck_assert_int_eq(resolver_apply(&paths, &wanted, &err), 0);
    ck_assert_str_eq(strchr(get(conf), '\n') + 1, "nameserver 10.11.0.1\nsearch heimdall\n");
    ck_assert_int_eq(resolver_restore(&paths, &err), 0);
    ck_assert_str_eq(get(conf), "(none)");
}
END_TEST

START_TEST(a_copy_that_cannot_be_kept_changes_nothing)
{
    struct err err;
    struct resolver_setup wanted = make_setup(1, true);
    put(conf, "nameserver 9.9.9.9\n");
    ck_assert_int_eq(rmdir(state), 0);
    ck_assert_int_lt(resolver_apply(&paths, &wanted, &err), 0);
    ck_assert_ptr_nonnull(strstr(err.text, state));
    ck_assert_str_eq(get(conf), "nameserver 9.9.9.9\n");
}
END_TEST

START_TEST(a_file_that_cannot_be_written_is_said)
{
    struct err err;
    struct resolver_setup wanted = make_setup(1, true);
    /* not even root can write a folder as a file */
    ck_assert_int_eq(mkdir(conf, 0700), 0);
    ck_assert_int_lt(resolver_apply(&paths, &wanted, &err), 0);
    ck_assert_ptr_nonnull(strstr(err.text, conf));
    ck_assert_int_eq(rmdir(state), 0);
}
END_TEST

START_TEST(senseless_setups_are_refused)
{
    struct err err;
    struct resolver_setup wanted[] = {make_setup(0, true), make_setup(4, true), make_setup(1, true),
                                      make_setup(1, true), make_setup(1, true)};
    wanted[2].domain = "a\nnameserver 6.6.6.6";
    wanted[3].interface = "-x";
    wanted[4].domain = "";
    put(conf, "nameserver 9.9.9.9\n");
    ck_assert_int_eq(resolver_apply(&paths, &wanted[_i], &err), -EINVAL);
    ck_assert_str_eq(get(conf), "nameserver 9.9.9.9\n");
}
END_TEST

static void check_upstreams(const char *expected)
{
    struct err err;
    struct resolver_upstreams upstreams;
    char text[ENDPOINT_TEXT];
    char all[4 * ENDPOINT_TEXT] = "";
    ck_assert_int_eq(resolver_read(&paths, ours, 4, &upstreams, &err), 0);
    size_t used = 0;
    for (size_t i = 0; i < upstreams.count; i++)
        used += (size_t)snprintf(all + used, sizeof all - used, "%s ",
                                 endpoint_format(&upstreams.servers[i], text));
    ck_assert_str_eq(all, expected);
}

START_TEST(upstreams_are_the_former_ones)
{
    struct err err;
    struct resolver_setup wanted = make_setup(1, true);
    put(conf, "nameserver 127.0.0.11\nnameserver 2001:db8::1\nnameserver 1.1.1.1\n"
              "nameserver 4.4.4.4\n");
    check_upstreams("127.0.0.11:53 [2001:db8::1]:53 1.1.1.1:53 ");
    ck_assert_int_eq(resolver_apply(&paths, &wanted, &err), 0);
    check_upstreams("127.0.0.11:53 [2001:db8::1]:53 1.1.1.1:53 ");
    put(conf, "nameserver 10.11.0.1\nnameserver 5.5.5.5\n");
    check_upstreams("5.5.5.5:53 ");
}
END_TEST

START_TEST(resolved_gets_split_dns)
{
    struct err err;
    char real[160];
    struct resolver_setup wanted = make_setup(2, true);
    put_tool(0);
    put(socket_path, "");
    put(conf, "nameserver 127.0.0.53\n");
    paths.resolvectl = tool;
    ck_assert_int_eq(resolver_apply(&paths, &wanted, &err), 0);
    ck_assert_str_eq(get(tool_log), "dns darknet 10.11.0.1 fd00::1\ndomain darknet heimdall\n"
                                    "default-route darknet false\ndnssec darknet no\n"
                                    "dnsovertls darknet no\n");
    ck_assert_str_eq(get(conf), "nameserver 127.0.0.53\n");
    snprintf(real, sizeof real, "%s/resolv.conf", stub_dir);
    put(real, "nameserver 192.0.2.1\n");
    check_upstreams("192.0.2.1:53 ");
    put(tool_log, "");
    ck_assert_int_eq(resolver_restore(&paths, &err), 0);
    ck_assert_str_eq(get(tool_log), "revert darknet\n");
    ck_assert_int_eq(rmdir(state), 0);
}
END_TEST

START_TEST(resolvconf_gets_a_record_of_ours)
{
    struct err err;
    struct resolver_setup wanted = make_setup(1, true);
    put_tool(0);
    put(conf, "# Generated by resolvconf\nnameserver 9.9.9.9\n");
    paths.resolvconf = tool;
    ck_assert_int_eq(resolver_apply(&paths, &wanted, &err), 0);
    ck_assert_str_eq(get(tool_log),
                     "-a tun0.darknet.heimdall\nnameserver 10.11.0.1\nsearch heimdall\n");
    put(tool_log, "");
    ck_assert_int_eq(resolver_restore(&paths, &err), 0);
    ck_assert_str_eq(get(tool_log), "-d tun0.darknet.heimdall\n");
    ck_assert_str_eq(get(conf), "# Generated by resolvconf\nnameserver 9.9.9.9\n");
}
END_TEST

/* 0: the tool does not keep the file; 1: it fails. */
START_TEST(without_a_tool_that_works_the_file_is_written)
{
    struct err err;
    struct resolver_setup wanted = make_setup(1, true);
    static const char *const text[] = {"nameserver 9.9.9.9\n", "nameserver 127.0.0.53\n"};
    put_tool(1);
    put(socket_path, "");
    put(conf, text[_i]);
    paths.resolvectl = tool;
    paths.resolvconf = tool;
    ck_assert_int_eq(resolver_apply(&paths, &wanted, &err), 0);
    ck_assert(strncmp(get(conf), "# heimdall", 10) == 0);
    ck_assert_int_eq(strcmp(get(tool_log), "(none)") == 0, _i == 0);
    ck_assert_int_eq(resolver_restore(&paths, &err), 0);
    ck_assert_str_eq(get(conf), text[_i]);
}
END_TEST

/* With a stub, no other nameserver is left, and its resolvers are the former ones; with resolvconf,
 * those of the records of others. */
START_TEST(a_stub_is_the_one_nameserver)
{
    struct err err;
    char record[160];
    struct resolver_setup wanted = make_setup(1, true);
    ip_addr_parse(&wanted.stub, "127.0.51.53");
    put(conf, "nameserver 9.9.9.9\nnameserver 8.8.8.8\nsearch lan\noptions rotate\n");
    ck_assert_int_eq(resolver_apply(&paths, &wanted, &err), 0);
    ck_assert_str_eq(strchr(get(conf), '\n') + 1,
                     "nameserver 127.0.51.53\nsearch heimdall lan\noptions rotate\n");
    check_upstreams("9.9.9.9:53 8.8.8.8:53 ");
    ck_assert_int_eq(resolver_restore(&paths, &err), 0);

    put_tool(0);
    put(conf, "# Generated by resolvconf\nnameserver 9.9.9.9\n");
    paths.resolvconf = tool;
    paths.records[0] = stub_dir;
    ck_assert_int_eq(resolver_apply(&paths, &wanted, &err), 0);
    ck_assert_str_eq(get(tool_log),
                     "-a tun0.darknet.heimdall\nnameserver 127.0.51.53\nsearch heimdall\n");
    put(conf, "# Generated by resolvconf\nnameserver 127.0.51.53\n");
    snprintf(record, sizeof record, "%s/eth0.dhcp", stub_dir);
    put(record, "nameserver 7.7.7.7\n");
    snprintf(record, sizeof record, "%s/tun0.darknet.heimdall", stub_dir);
    put(record, "nameserver 127.0.51.53\n");
    check_upstreams("7.7.7.7:53 ");
    ck_assert_int_eq(resolver_restore(&paths, &err), 0);
}
END_TEST

static const struct {
    const char *target; /* from the folder of resolv.conf; %s is that folder */
    const char *behind; /* the text of the file there, NULL for none */
    bool folder;        /* the target's folder exists */
} links[] = {
    {"%s/run/resolv.conf", "nameserver 9.9.9.9\n", true}, /* 0: a good link */
    {"run/resolv.conf", "nameserver 9.9.9.9\n", true},    /* 1: relative */
    {"%s/run/resolv.conf", NULL, true},                   /* 2: dangling */
    {"run/resolv.conf", NULL, true},                      /* 3 */
    {"%s/nowhere/resolv.conf", NULL, false},              /* 4: not even a folder */
    {"../nowhere/resolv.conf", NULL, false},              /* 5 */
};

/* Every link is the same link afterwards, with the same behind it, after a change of the setup,
 * too. */
START_TEST(a_link_stays_what_it_was)
{
    struct err err;
    char target[160];
    char real[160];
    char now[160] = "";
    struct resolver_setup first = make_setup(1, true);
    struct resolver_setup second = make_setup(2, true);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(target, sizeof target, links[_i].target, folder);
#pragma GCC diagnostic pop
    snprintf(real, sizeof real, "%s/resolv.conf", stub_dir);
    if (links[_i].behind != NULL)
        put(real, links[_i].behind);
    ck_assert_int_eq(symlink(target, conf), 0);
    ck_assert_int_eq(resolver_apply(&paths, &first, &err), 0);
    ck_assert(strncmp(get(conf), "# heimdall", 10) == 0);
    ck_assert(!resolver_is_lost(&paths));
    ck_assert_int_eq(resolver_apply(&paths, &second, &err), 0);
    ck_assert(strncmp(get(conf), "# heimdall", 10) == 0);
    ck_assert_int_eq(resolver_restore(&paths, &err), 0);
    ck_assert_int_gt(readlink(conf, now, sizeof now - 1), 0);
    ck_assert_str_eq(now, target);
    ck_assert_str_eq(get(real), links[_i].behind != NULL ? links[_i].behind : "(none)");
    ck_assert_int_eq(rmdir(state), 0);
}
END_TEST

/* As in a container: the file is a bind mount, 0 writable, 1 read-only. Needs root. */
START_TEST(a_bind_mount)
{
    struct err err;
    char behind[128];
    struct resolver_setup wanted = make_setup(1, true);
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return;
    snprintf(behind, sizeof behind, "%s/behind", folder);
    put(behind, "nameserver 9.9.9.9\n");
    put(conf, "");
    ck_assert_int_eq(mount(behind, conf, NULL, MS_BIND, NULL), 0);
    if (_i == 1)
        ck_assert_int_eq(mount(NULL, conf, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL), 0);
    int rc = resolver_apply(&paths, &wanted, &err);
    if (_i == 0) {
        ck_assert_int_eq(rc, 0);
        ck_assert(strncmp(get(behind), "# heimdall", 10) == 0);
        ck_assert_int_eq(resolver_restore(&paths, &err), 0);
    } else {
        ck_assert_int_eq(rc, -EROFS);
        ck_assert_ptr_nonnull(strstr(err.text, conf));
    }
    ck_assert_str_eq(get(behind), "nameserver 9.9.9.9\n");
    ck_assert_int_eq(umount(conf), 0);
    ck_assert_int_eq(rmdir(state), 0);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("resolver");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, file_is_written_in_place_and_put_back, 0, ARRAY_LEN(written));
    tcase_add_test(tc, applying_again_keeps_the_first_copy);
    tcase_add_test(tc, a_file_without_the_marker_is_left_alone);
    tcase_add_test(tc, a_file_that_others_wrote_over_is_lost);
    tcase_add_test(tc, a_file_of_another_program_of_ours_is_not_ours);
    tcase_add_loop_test(tc, programs_end_in_any_order, 0, 4);
    tcase_add_test(tc, a_missing_file_is_made_and_removed);
    tcase_add_test(tc, a_copy_that_cannot_be_kept_changes_nothing);
    tcase_add_test(tc, a_file_that_cannot_be_written_is_said);
    tcase_add_loop_test(tc, senseless_setups_are_refused, 0, 5);
    tcase_add_test(tc, upstreams_are_the_former_ones);
    tcase_add_test(tc, resolved_gets_split_dns);
    tcase_add_test(tc, resolvconf_gets_a_record_of_ours);
    tcase_add_loop_test(tc, without_a_tool_that_works_the_file_is_written, 0, 2);
    tcase_add_loop_test(tc, a_link_stays_what_it_was, 0, ARRAY_LEN(links));
    tcase_add_test(tc, a_stub_is_the_one_nameserver);
    tcase_add_loop_test(tc, a_bind_mount, 0, 2);
    return unit_run(tc);
}
