#ifndef CONTROL_CLUSTER_REDIS_FILES_H
#define CONTROL_CLUSTER_REDIS_FILES_H

#include <stdbool.h>
#include <stdint.h>

/* Redis' append-only files (DIR/appendonlydir), looked at before each start of redis-server. */

#define REDIS_FILES_MANIFEST "appendonlydir/appendonly.aof.manifest"

/* Without its manifest Redis starts empty, and appends new changes to old files of the same name.
 * 0 or a negative errno: -ENODATA if data files are there without the manifest, or if there is no
 * manifest although `must_exist`. */
int redis_files_check(const char *dir, bool must_exist);

/* Removes zero bytes behind the end of the last file, which a power failure leaves there: Redis
 * would not start. No command ends in a zero, so nothing else is lost. Sets *removed. 0 or a
 * negative errno. */
int redis_files_heal(const char *dir, uint64_t *removed);

#endif
