/* Administers the network. Every command is a row of `commands`: its words, its arguments, and the
 * function that asks the node and prints the answer. */
#include "cmd/hctl_changes.h"
#include "cmd/hctl_command.h"
#include "cmd/hctl_doctor.h"
#include "cmd/hctl_json.h"
#include "cmd/hctl_lists.h"
#include "cmd/hctl_status.h"
#include "cmd/report.h"
#include "control/config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Scripts rely on these numbers; the manual page lists them. */
enum exit_status {
    STATUS_OK = 0,
    STATUS_FAILED = 1,
    STATUS_USAGE = 2,
    STATUS_NOT_FOUND = 3,
    STATUS_EXISTS = 4,
    STATUS_UNREACHABLE = 5,
    STATUS_DENIED = 6,
    STATUS_PROBLEMS = 7,
};

struct command {
    const char *group;
    const char *name; /* "": the group alone is the command */
    const char *args; /* for the help */
    const char *help;
    size_t args_min;
    size_t args_max;
    bool has_route_options;
    enum grpc_code (*run)(struct invocation *invocation, struct err *err);
};

#define ANY_NUMBER SIZE_MAX

static const struct command commands[] = {
    {"status", "", "", "show how nodes and peers are doing, and what is wrong", 0, 0, false,
     status_show},
    {"doctor", "", "", "try the node's host, its firewall, DNS and the way to it", 0, 0, false,
     doctor_run},
    {"nodes", "list", "", "list the nodes", 0, 0, false, nodes_list},
    {"peers", "list", "", "list the peers that have connected", 0, 0, false, peers_list},
    {"peers", "authorized", "", "list the ids that may connect", 0, 0, false, peers_authorized},
    {"peers", "authorize", "[ID...]", "let peers connect; without an id make and print one", 0,
     ANY_NUMBER, false, peers_authorize},
    {"peers", "deauthorize", "PEER...", "cut peers off and free their addresses", 1, ANY_NUMBER,
     false, peers_deauthorize},
    {"peers", "show", "PEER", "show one peer", 1, 1, false, peers_show},
    {"peers", "rename", "PEER NAME", "give a peer a name that it cannot change; \"\" ends this", 2,
     2, false, peers_rename},
    {"peers", "rekey", "PEER", "let a peer's next connection bring a new key, once", 1, 1, false,
     peers_rekey},
    {"routes", "list", "", "list the published networks", 0, 0, false, routes_list},
    {"routes", "create", "--node-id NODE --network CIDR", "publish a network behind a node", 0, 0,
     true, routes_create},
    {"routes", "delete", "CIDR", "withdraw a network", 1, 1, false, routes_delete},
};

enum { COMMANDS = sizeof commands / sizeof commands[0], COMMAND_TEXT = 80 };

/* ---- the command line ---- */

/* The node checks the syntax of names and networks. */
static bool parse_word(void *out, const char *text)
{
    *(const char **)out = text;
    return *text != '\0';
}

static const struct option_kind kind_node = {"NODE", "a node's id or name", false, false,
                                             parse_word};
static const struct option_kind kind_network = {"CIDR", "a network, as 192.168.50.0/24", false,
                                                false, parse_word};

static const struct option route_rows[] = {
    {"node-id", 0, NULL, &kind_node, NULL,
     "for routes create: id or name of the node that the network is behind",
     offsetof(struct route_options, node_id)},
    {"network", 0, NULL, &kind_network, NULL, "for routes create: the network, as 192.168.50.0/24",
     offsetof(struct route_options, network)},
    {"inbound", 0, NULL, &option_flag, NULL,
     "for routes create: let hosts of the network open connections to peers",
     offsetof(struct route_options, inbound)},
};

static struct option_set route_set(struct invocation *invocation)
{
    return (struct option_set){.rows = route_rows,
                               .count = sizeof route_rows / sizeof route_rows[0],
                               .out = &invocation->route};
}

/* The command and its arguments, as the help shows them. */
static const char *command_text(const struct command *command, char out[COMMAND_TEXT])
{
    snprintf(out, COMMAND_TEXT, "%s%s%s%s%s", command->group, command->name[0] != '\0' ? " " : "",
             command->name, command->args[0] != '\0' ? " " : "", command->args);
    return out;
}

static void print_usage(struct invocation *invocation)
{
    struct option_set sets[] = {route_set(invocation), config_ctl_set(&invocation->config)};
    printf("hctl - administers a peer-to-peer private network\n\n"
           "usage: hctl [options] COMMAND\n\ncommands:\n");
    for (size_t i = 0; i < COMMANDS; i++) {
        char left[COMMAND_TEXT];
        options_print_line(stdout, 47, command_text(&commands[i], left), commands[i].help);
    }
    putchar('\n');
    options_print_line(stdout, 8, "PEER",
                       "an id, a name, or the first 8 or more characters of an id");
    printf("\noptions:\n");
    options_print_rows(stdout, &sets[0]);
    options_print_help(stdout, &sets[1]);
}

static const struct command *find_command(char **words, size_t count, struct err *err)
{
    bool group_known = false;
    if (count == 0) {
        err_set(err, -EINVAL, "no command given: --help lists them");
        return NULL;
    }
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i].group, words[0]) != 0)
            continue;
        group_known = true;
        if (commands[i].name[0] == '\0' || (count > 1 && strcmp(commands[i].name, words[1]) == 0))
            return &commands[i];
    }
    if (!group_known)
        err_set(err, -EINVAL, "unknown command \"%s\": --help lists the commands", words[0]);
    else if (count == 1)
        err_set(err, -EINVAL, "command \"%s\" needs a second word: --help lists the commands",
                words[0]);
    else
        err_set(err, -EINVAL, "unknown command \"%s %s\": --help lists the commands", words[0],
                words[1]);
    return NULL;
}

static enum options_outcome check_args(const struct command *command,
                                       const struct invocation *invocation, struct err *err)
{
    const struct route_options *route = &invocation->route;
    char text[COMMAND_TEXT];
    if (invocation->arg_count < command->args_min) {
        err_set(err, -EINVAL, "an argument is missing, usage: hctl %s",
                command_text(command, text));
        return OPTIONS_BAD;
    }
    if (invocation->arg_count > command->args_max) {
        err_set(err, -EINVAL, "argument \"%s\" is one too many, usage: hctl %s",
                invocation->args[command->args_max], command_text(command, text));
        return OPTIONS_BAD;
    }
    if (command->has_route_options && (route->node_id == NULL || route->network == NULL)) {
        err_set(err, -EINVAL, "option %s is missing: hctl %s",
                route->node_id == NULL ? "--node-id" : "--network", command_text(command, text));
        return OPTIONS_BAD;
    }
    if (!command->has_route_options &&
        (route->node_id != NULL || route->network != NULL || route->inbound)) {
        err_set(err, -EINVAL, "option %s is for routes create only",
                route->node_id != NULL   ? "--node-id"
                : route->network != NULL ? "--network"
                                         : "--inbound");
        return OPTIONS_BAD;
    }
    return OPTIONS_OK;
}

/* Reads global options and the command's words, then options and arguments in any order. */
static enum options_outcome read_command_line(struct invocation *invocation, int argc, char **argv,
                                              const struct command **command, struct err *err)
{
    int next;
    enum options_outcome outcome = config_read_ctl(&invocation->config, argc, argv, &next, err);
    if (outcome != OPTIONS_OK)
        return outcome;
    struct option_set sets[] = {config_ctl_set(&invocation->config), route_set(invocation)};
    char **words = argv + next;
    int end = next;
    outcome = options_parse(sets, 2, argc, argv, &end, false, err);
    if (outcome != OPTIONS_OK)
        return outcome;
    size_t count = (size_t)(end - next);
    *command = find_command(words, count, err);
    if (*command == NULL || !config_complete_ctl(&invocation->config, err))
        return OPTIONS_BAD;
    size_t name_words = (*command)->name[0] != '\0' ? 2 : 1;
    invocation->args = words + name_words;
    invocation->arg_count = count - name_words;
    return check_args(*command, invocation, err);
}

/* ---- errors ---- */

static enum exit_status exit_status_of(enum grpc_code code)
{
    switch (code) {
    case GRPC_OK:
        return STATUS_OK;
    case GRPC_NOT_FOUND:
        return STATUS_NOT_FOUND;
    case GRPC_ALREADY_EXISTS:
        return STATUS_EXISTS;
    case GRPC_UNAVAILABLE:
    case GRPC_DEADLINE_EXCEEDED:
        return STATUS_UNREACHABLE;
    case GRPC_PERMISSION_DENIED:
    case GRPC_UNAUTHENTICATED:
        return STATUS_DENIED;
    case GRPC_CANCELLED:
    case GRPC_UNKNOWN:
    case GRPC_INVALID_ARGUMENT:
    case GRPC_RESOURCE_EXHAUSTED:
    case GRPC_FAILED_PRECONDITION:
    case GRPC_ABORTED:
    case GRPC_OUT_OF_RANGE:
    case GRPC_UNIMPLEMENTED:
    case GRPC_INTERNAL:
    case GRPC_DATA_LOSS:
        return STATUS_FAILED;
    }
    return STATUS_FAILED;
}

static enum exit_status report(bool json, const char *code, const struct err *err,
                               enum exit_status status)
{
    if (!json || json_print_error(stderr, code, err->text, (int)status) < 0)
        fprintf(stderr, "hctl: %s\n", err->text);
    return status;
}

/* Whether the user asked for JSON, also on a command line that cannot be parsed to its end. */
static bool asks_for_json(int argc, char **argv)
{
    static const char *const spellings[] = {"-ojson", "-o=json", "--output=json"};
    const char *variable = getenv("HEIMDALL_OUTPUT");
    for (int i = 1; i < argc; i++) {
        for (size_t s = 0; s < sizeof spellings / sizeof spellings[0]; s++)
            if (strcmp(argv[i], spellings[s]) == 0)
                return true;
        if ((strcmp(argv[i], "-o") == 0 || strcmp(argv[i], "--output") == 0) && i + 1 < argc &&
            strcmp(argv[i + 1], "json") == 0)
            return true;
    }
    return variable != NULL && strcmp(variable, "json") == 0;
}

/* Why output was lost: 0, or a negative errno. The cause of an earlier write is gone; another write
 * has the same one. */
static int output_failure(void)
{
    if (fflush(stdout) != 0)
        return -errno;
    if (ferror(stdout) == 0)
        return 0;
    return write(STDOUT_FILENO, "\n", 1) < 0 ? -errno : -EIO;
}

/* Ends the output; `status` unless it was lost. Nothing is said of a reader that has had enough,
 * such as `head`. */
static enum exit_status end_output(bool json, enum exit_status status)
{
    struct err err = {0};
    int failed = output_failure();
    if (failed == 0)
        return status;
    if (failed == -EPIPE)
        return STATUS_FAILED;
    err_set_errno(&err, failed, "cannot write to standard output");
    return report(json, grpc_code_name(GRPC_UNKNOWN), &err, STATUS_FAILED);
}

/* Files opened later must not take the place of a standard stream that is closed: what is printed
 * would go to them. */
static void fill_standard_streams(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDONLY);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
}

static enum exit_status run_command(struct invocation *invocation, const struct command *command)
{
    struct err err = {0};
    bool json = invocation->config.json;
    config_apply_log(&invocation->config.log);
    invocation->page = page_of(stdout);
    enum grpc_code code = session_open(&invocation->session, &invocation->config, &err);
    if (code == GRPC_OK)
        code = command->run(invocation, &err);
    session_close(invocation->session);
    if (code != GRPC_OK)
        return report(json, grpc_code_name((int)code), &err, exit_status_of(code));
    return end_output(json, invocation->has_problems ? STATUS_PROBLEMS : STATUS_OK);
}

int main(int argc, char **argv)
{
    struct invocation invocation = {0};
    const struct command *command;
    struct err err = {0};
    enum exit_status status = STATUS_OK;
    (void)setlocale(LC_CTYPE, "");
    (void)signal(SIGPIPE, SIG_IGN);
    fill_standard_streams();
    bool json = asks_for_json(argc, argv); /* before the parser reorders argv */
    enum options_outcome outcome = read_command_line(&invocation, argc, argv, &command, &err);
    switch (outcome) {
    case OPTIONS_OK:
        status = run_command(&invocation, command);
        break;
    case OPTIONS_HELP:
        print_usage(&invocation);
        status = end_output(json, STATUS_OK);
        break;
    case OPTIONS_VERSION:
        (void)report_options(outcome, "hctl", &err);
        status = end_output(json, STATUS_OK);
        break;
    case OPTIONS_BAD:
        status = report(json || invocation.config.json, "USAGE", &err, STATUS_USAGE);
        break;
    }
    config_ctl_fini(&invocation.config);
    return (int)status;
}
