#ifndef TUN_NFT_WATCH_H
#define TUN_NFT_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reports that rules of nftables in this network namespace have changed, not which, and looks at
 * one table. Needs CAP_NET_ADMIN. */

struct nft_watch;

/* 0 or a negative errno; -EPROTONOSUPPORT: a kernel without nftables. */
int nft_watch_open(struct nft_watch **out);
void nft_watch_close(struct nft_watch *watch);

/* Non-blocking; readable when there is news. */
int nft_watch_fd(const struct nft_watch *watch);

/* Reads all that is pending. Returns whether there was anything. */
bool nft_watch_read(struct nft_watch *watch);

/* The generation of all rules, one more with each transaction. 0 or a negative errno. */
int nft_generation(uint32_t *out);

/* Tells one content of a table from another: each table and rule has a handle that is never given
 * again. */
struct nft_table_mark {
    uint64_t table; /* 0: there is no such table */
    uint64_t rules; /* the sum of their handles */
    size_t count;   /* of rules */
};

/* Looks at the table `name` of the family inet. 0 or a negative errno. */
int nft_table_observe(const char *name, struct nft_table_mark *out);
bool nft_table_mark_equal(const struct nft_table_mark *a, const struct nft_table_mark *b);

#endif
