#include "dns/server_state.h"

#include <stdlib.h>

void server_handle_opened(struct dns_server *server)
{
    server->handles++;
}

void server_handle_closed(struct dns_server *server)
{
    if (--server->handles > 0 || !server->closing)
        return;
    free(server->batch);
    free(server->recursion);
    free(server);
}

struct answer_context server_context(const struct dns_server *server, const union endpoint *client,
                                     enum dns_transport transport)
{
    struct answer_context context = {.zone = server->zone, .transport = transport};
    struct ip_addr addr;
    if (server->forwarder.upstream == NULL && server->forwarder.stub == NULL)
        return context;
    endpoint_addr(client, &addr);
    for (size_t i = 0; i < server->recursion_count && !context.recursion; i++)
        context.recursion = ip_prefix_contains(&server->recursion[i], &addr);
    return context;
}

void server_count_answer(struct dns_server *server, const uint8_t *response)
{
    server->stats.rcodes[response[3] & 0xf]++;
}
