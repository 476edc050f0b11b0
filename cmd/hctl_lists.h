#ifndef CMD_HCTL_LISTS_H
#define CMD_HCTL_LISTS_H

#include "cmd/hctl_command.h"

/* Commands that list what there is, with the columns of the original. */

command_run nodes_list;
command_run peers_list;
command_run peers_authorized;
command_run routes_list;

#endif
