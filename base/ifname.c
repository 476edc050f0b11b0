#include "base/ifname.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

bool ifname_is_valid(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len > IFNAME_MAX || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isgraph((unsigned char)name[i]) || strchr("/:%", name[i]) != NULL)
            return false;
    return true;
}

bool ifname_is_reserved(const char *name)
{
    /* the loopback interface, what sysctl calls all and new interfaces, a file of sysfs */
    static const char *const reserved[] = {"lo", "all", "default", "bonding_masters"};
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        if (strcmp(name, reserved[i]) == 0)
            return true;
    return false;
}
