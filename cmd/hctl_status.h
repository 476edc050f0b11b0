#ifndef CMD_HCTL_STATUS_H
#define CMD_HCTL_STATUS_H

#include "cmd/hctl_command.h"

/* How the network is doing, and how one peer of it is. */

command_run status_show;
command_run peers_show;

#endif
