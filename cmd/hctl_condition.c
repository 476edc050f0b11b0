#include "cmd/hctl_condition.h"

/* Peers send keepalives, so that a session is renewed every two minutes. The protocol rejects it
 * after three. */
enum { HANDSHAKE_OLD_S = 180 };

bool tunnel_works(const Pb__TunnelStatus *tunnel, int64_t now)
{
    return tunnel != NULL && tunnel->last_handshake != NULL &&
           now - tunnel->last_handshake->seconds <= HANDSHAKE_OLD_S;
}

enum peer_condition peer_condition(const Pb__PeerStatus *peer, size_t nodes, int64_t now)
{
    if (peer->peer == NULL || peer->peer->keypair == NULL ||
        peer->peer->keypair->public_key[0] == '\0')
        return PEER_NEVER;
    bool works = tunnel_works(peer->tunnel, now);
    if (!peer->watching && (nodes <= 1 || !works))
        return PEER_OFFLINE;
    return works ? PEER_CONNECTED : PEER_NO_HANDSHAKE;
}

const char *peer_condition_text(enum peer_condition condition)
{
    switch (condition) {
    case PEER_NEVER:
        return "never connected";
    case PEER_CONNECTED:
        return "connected";
    case PEER_NO_HANDSHAKE:
        return "no handshake";
    case PEER_OFFLINE:
        return "offline";
    }
    return "";
}
