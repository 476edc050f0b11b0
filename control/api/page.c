#include "control/api/page.h"

#include "control/rpc/server.h"

#include <string.h>

enum {
    FIELD_BYTES = 1 + 5,              /* tag and length of a record in its list */
    TOKEN_BYTES = 2 + 2 + WALK_TOKEN, /* the next token's field */
};

bool page_init(struct page *page, struct rpc_call *call, enum walk_part part, uint64_t size,
               const char *token)
{
    *page = (struct page){.whole = size == 0 && token[0] == '\0',
                          .count = size != 0 ? size : UINT64_MAX,
                          .room = GRPC_MESSAGE_MAX - TOKEN_BYTES};
    walk_begin(&page->walk, part);
    if (token[0] == '\0' || walk_parse(&page->walk, token))
        return true;
    rpc_call_fail(call, GRPC_INVALID_ARGUMENT,
                  "page_token is not the next_page_token of an answer");
    return false;
}

void page_reserve(struct page *page, size_t bytes)
{
    page->room -= bytes < page->room ? bytes : page->room;
}

bool page_takes_bytes(struct page *page, size_t packed_size)
{
    size_t bytes = FIELD_BYTES + packed_size;
    page->incomplete = page->incomplete || page->count == 0 || bytes > page->room;
    if (page->incomplete)
        return false;
    page->count--;
    page->room -= bytes;
    return true;
}

bool page_takes(struct page *page, const ProtobufCMessage *record)
{
    return page_takes_bytes(page, protobuf_c_message_get_packed_size(record));
}

char *page_next(struct page *page)
{
    page->token[0] = '\0';
    if (page->incomplete && !page->whole)
        (void)walk_token(&page->walk, page->token);
    return page->token;
}

bool page_check(const struct page *page, struct rpc_call *call, size_t total)
{
    if (!page->incomplete || !page->whole)
        return true;
    rpc_call_fail(call, GRPC_RESOURCE_EXHAUSTED,
                  "the list of %zu does not fit into one message of 4 MiB: ask for pages with "
                  "page_size (field 100), or use a current hctl",
                  total);
    return false;
}
