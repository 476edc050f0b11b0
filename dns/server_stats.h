#ifndef DNS_SERVER_STATS_H
#define DNS_SERVER_STATS_H

#include <stdint.h>

/* What a server has counted since it was created. */
struct dns_server_stats {
    uint64_t udp_queries;
    uint64_t tcp_queries;
    uint64_t dropped;             /* malformed beyond an answer, or a reply that was not sent */
    uint64_t forwarded;           /* asked upstream */
    uint64_t refused_connections; /* or closed to make room for another client */
    uint64_t rcodes[16];          /* answers; extended codes count by their lower four bits */
};

#endif
