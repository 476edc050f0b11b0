#ifndef CMD_HCTL_CHANGES_H
#define CMD_HCTL_CHANGES_H

#include "cmd/hctl_command.h"

/* Commands that change the network. They print nothing, and with -o json what they did. Peers may
 * be given by id, name or the beginning of their id. */

command_run peers_authorize; /* without an id makes one, and prints it */
command_run peers_deauthorize;
command_run peers_rename;
command_run peers_rekey;
command_run routes_create;
command_run routes_delete;

#endif
