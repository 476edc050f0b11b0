#ifndef CONTROL_API_PAGE_H
#define CONTROL_API_PAGE_H

#include "control/api/walk.h"

/* One answer's part of a list. Requests carry `page_size` and `page_token`; a request without both
 * wants the whole list in one message, as the original's clients do. */

struct rpc_call;

struct page {
    struct walk walk;
    bool whole;      /* the client cannot continue */
    uint64_t count;  /* records that the page still takes */
    size_t room;     /* bytes */
    bool incomplete; /* a record did not fit */
    char token[WALK_TOKEN];
};

/* The list's first part is `part`. False with the call failed when the token is none of ours. */
bool page_init(struct page *page, struct rpc_call *call, enum walk_part part, uint64_t size,
               const char *token);

/* Makes room for what the answer holds besides the list. */
void page_reserve(struct page *page, size_t bytes);

/* Whether a record still fits; takes its place if so. */
bool page_takes(struct page *page, const ProtobufCMessage *record);
bool page_takes_bytes(struct page *page, size_t packed_size);

/* The answer's next_page_token: "" when the list ended. */
char *page_next(struct page *page);

/* Whether the list may be sent. A whole list that does not fit fails the call with what to do. */
bool page_check(const struct page *page, struct rpc_call *call, size_t total);

#endif
