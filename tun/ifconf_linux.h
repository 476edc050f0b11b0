#ifndef TUN_IFCONF_LINUX_H
#define TUN_IFCONF_LINUX_H

#include "tun/ifconf.h"

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>

/* What the parts of ifconf share on Linux: one request and its answer. */

struct ifconf_socket {
    struct mnl_socket *socket;
    uint32_t seq;
};

enum { REQUEST_LEN = 1024 };

/* A request being built; the family header is zero and of `header_len` bytes. */
struct request {
    uint32_t buf[REQUEST_LEN / 4];
    struct nlmsghdr *nlh;
};

/* Returns the family header. `flags` beside NLM_F_REQUEST. */
void *request_init(struct request *request, uint16_t type, uint16_t flags, size_t header_len);
void request_put_addr(struct request *request, uint16_t attr, const struct ip_addr *addr);

/* Sends and waits. Without `take` it requests an acknowledgement. With `take`, calls it for each
 * message of the answer; a negative errno from it ends the call. Returns 0 or a negative errno. */
int request_run(struct ifconf_socket *conf, struct request *request,
                int (*take)(const struct nlmsghdr *nlh, void *ctx), void *ctx);

/* Collects the attributes of a message by type, NULL where missing; `max` is the highest type. */
void attrs_parse(const struct nlmsghdr *nlh, size_t header_len, const struct nlattr **attrs,
                 uint16_t max);
uint32_t attr_u32(const struct nlattr *attr, uint32_t otherwise);

/* Leaves `out` without family when the attribute is missing or of another length. */
void attr_addr(const struct nlattr *attr, uint8_t af, struct ip_addr *out);

uint8_t af_of_family(uint8_t family);
uint8_t family_of_af(uint8_t af);

/* A growing array of elements of `size` bytes. Returns a new, zeroed element or NULL. */
struct vector {
    void *items;
    size_t count;
    size_t capacity;
};
void *vector_add(struct vector *vector, size_t size);

/* Hands the items out, or frees them when `rc` is negative; returns `rc`. */
int vector_finish(struct vector *vector, int rc, void **out, size_t *count);

#endif
