#ifndef WG_WG_H
#define WG_WG_H

#include "base/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The engine's interface: one WireGuard device as a set of pure functions over packets, time and
 * random bytes. It opens no socket, starts no thread, reads no clock, and allocates nothing per
 * packet.
 *
 * Three kinds of caller, which may be three threads at once:
 *
 *   fast   wg_device_seal, wg_device_open
 *   slow   wg_device_handshake, wg_device_run: handshakes, timers, what fast callers left to do
 *   setup  wg_device_configure, wg_device_info, wg_device_set_up
 *
 * Fast: any number of threads may seal, one thread may open. Neither takes a lock unless a packet
 * must be staged or a session changes. The caller is inside a read-side section (QSBR) from the
 * call until it no longer uses a result.
 *
 * Slow and setup calls serialise on the device's lock. What they unpublish is kept until
 * wg_device_take_garbage. The caller waits for a grace period (every fast caller outside its
 * section once) and then frees it, which wipes keys. */

enum {
    WG_KEY_LEN = 32,
    WG_DATA_OVERHEAD = 32, /* 16 bytes header in front, 16 bytes tag behind the padded packet */
    WG_HEADER_LEN = 16,
    WG_HANDSHAKE_MAX = 148, /* longest message that is not data */
};

#define WG_NEVER UINT64_MAX

/* Both clocks. The caller reads them once a batch. */
struct wg_time {
    uint64_t boot_ns; /* CLOCK_BOOTTIME: ages */
    uint64_t real_ns; /* since the UNIX epoch: handshake timestamps and what users see */
};

/* A peer's remote address, and our address that it last sent to. */
struct wg_endpoint {
    union endpoint remote;
    struct ip_addr source; /* family 0: the kernel chooses */
    uint32_t ifindex;      /* of `source`; 0: any */
};

struct wg_env {
    void *ctx;
    void (*random)(void *ctx, void *out, size_t len);
    /* Called when a fast caller left work for wg_device_run, from any thread, never with a lock
     * held. */
    void (*wake)(void *ctx);
};

/* Takes the datagrams that slow calls make. `send` is called with the device's lock held; `bytes`
 * live for the call. `ds` is the outer DS field and ECN bits (0x88 for handshakes). Returns whether a
 * socket has taken it: only then does it count as sent. */
struct wg_sink {
    void *ctx;
    bool (*send)(void *ctx, const struct wg_endpoint *to, uint8_t ds, const uint8_t *bytes,
                 size_t len);
};

struct wg_device;
struct wg_garbage;
struct wg_peer;

/* Returns 0 or -ENOMEM. `env` is copied. The device starts down, without keys. */
int wg_device_create(struct wg_device **out, const struct wg_env *env);
void wg_device_destroy(struct wg_device *dev);

/* ---- setup ---- */

struct wg_allowed_ip_config {
    struct ip_prefix prefix; /* masked by the callee */
    bool remove;
};

struct wg_peer_config {
    uint8_t public_key[WG_KEY_LEN];
    bool remove;
    bool update_only;
    bool replace_allowed_ips;
    bool has_preshared_key;
    bool has_endpoint;
    bool has_keepalive;
    bool forget_timestamp; /* takes its next initiation even if its clock has gone back */
    uint8_t preshared_key[WG_KEY_LEN]; /* all zero: none */
    union endpoint endpoint;           /* an IPv4-mapped address becomes IPv4 */
    uint16_t keepalive_s;              /* 0: off */
    struct wg_allowed_ip_config *allowed_ips;
    size_t allowed_ip_count;
};

/* One change of a device, with the meaning of the cross-platform UAPI's `set`. The arrays belong to
 * the caller. */
struct wg_device_config {
    bool has_private_key;
    bool has_listen_port; /* the path applies this and the mark; the engine ignores them */
    bool has_fwmark;
    bool replace_peers;
    uint8_t private_key[WG_KEY_LEN]; /* all zero: none */
    uint16_t listen_port;
    uint32_t fwmark;
    struct wg_peer_config *peers;
    size_t peer_count;
};

/* Applies the whole change or, on an error, none of it: -ENOMEM, or -EINVAL for a prefix with an
 * unknown family or length. A peer may be named more than once; its entries take effect in order. A
 * peer with our own key is ignored. May start handshakes and keepalives through `sink`. */
int wg_device_configure(struct wg_device *dev, const struct wg_device_config *config,
                        struct wg_time now, const struct wg_sink *sink);

/* Frees the arrays of a config that was built with malloc, and wipes its keys. */
void wg_device_config_fini(struct wg_device_config *config);

/* False for a point of low order, which makes the same secret with every private key (RFC 7748,
 * section 6.1): no handshake with it succeeds. */
bool wg_public_key_is_usable(const uint8_t public_key[WG_KEY_LEN]);

/* A device that is down sends nothing and forgets its sessions. Starts down. */
void wg_device_set_up(struct wg_device *dev, bool up, struct wg_time now,
                      const struct wg_sink *sink);

/* Begins a session with each peer that completed a handshake within the last 3 minutes and has no
 * session now, as soon as the device is up. Such peers do not know that a device that was down has
 * forgotten their session, and would send into it for 15 seconds. */
void wg_device_reinitiate(struct wg_device *dev, struct wg_time now, const struct wg_sink *sink);

/* Refuses packets from an address inside these prefixes to another one inside them, in place of the
 * prefixes of an earlier call: when they arrive from a peer, and when they are to be sent to one,
 * however the host has routed or translated them in between. Returns 0, or -ENOMEM with the former
 * ones in force. */
int wg_device_keep_apart(struct wg_device *dev, const struct ip_prefix *prefixes, size_t count);

/* The largest inner packet; caps the padding. Default 1420. */
void wg_device_set_mtu(struct wg_device *dev, uint32_t mtu);

struct wg_peer_info {
    uint8_t public_key[WG_KEY_LEN];
    uint8_t preshared_key[WG_KEY_LEN];
    union endpoint endpoint;
    uint16_t keepalive_s;
    uint64_t rx_bytes;
    uint64_t tx_bytes;
    uint64_t last_handshake_ns;      /* real time, for users to see; 0: never */
    uint64_t last_handshake_boot_ns; /* boot time, for ages; 0: never */
    struct ip_prefix *allowed_ips;
    size_t allowed_ip_count;
};

struct wg_device_info {
    bool has_private_key;
    uint8_t private_key[WG_KEY_LEN];
    uint8_t public_key[WG_KEY_LEN];
    struct wg_peer_info *peers;
    size_t peer_count;
};

/* Copies everything that can be read. -ENOMEM leaves `out` empty. Holds secrets:
 * wg_device_info_fini wipes them. */
int wg_device_info(struct wg_device *dev, struct wg_device_info *out);
void wg_device_info_fini(struct wg_device_info *info);

/* ---- fast ---- */

enum wg_outbound_verdict {
    WG_OUT_SEND,        /* `sealed` is ready for `endpoint` */
    WG_OUT_STAGED,      /* copied; goes out when the handshake is done */
    WG_OUT_NO_PEER,     /* no allowed IP matches: ICMP unreachable is due */
    WG_OUT_NO_ENDPOINT, /* the peer has none: ICMP unreachable is due */
    WG_OUT_PROHIBITED,  /* between hosts that are kept apart: ICMP prohibited is due */
    WG_OUT_DROP,        /* not an IP packet, device down, or out of memory */
};

/* One inner packet to send. `sealed` has room for len + 15 + WG_DATA_OVERHEAD bytes. It is apart
 * from `plain` or exactly plain - WG_HEADER_LEN (in place). */
struct wg_outbound {
    const uint8_t *plain;
    size_t len;
    uint8_t *sealed;
    bool is_answer; /* to a packet that was refused: it goes between hosts that are kept apart */
    /* results */
    enum wg_outbound_verdict verdict;
    size_t sealed_len;
    struct wg_peer *peer; /* WG_OUT_SEND: for wg_outbound_sent */
    struct wg_endpoint endpoint;
    uint8_t ds; /* outer DS field and ECN bits */
};

void wg_device_seal(struct wg_device *dev, struct wg_outbound *packets, size_t count,
                    struct wg_time now);

/* Counts the packet as sent to its peer, once a socket has taken it. Within the caller's read-side
 * section of the seal. */
void wg_outbound_sent(const struct wg_outbound *packet);

enum wg_inbound_verdict {
    WG_IN_DELIVER,    /* `plain` holds an inner packet from the peer that owns its source address */
    WG_IN_CONSUMED,   /* a keepalive */
    WG_IN_PROHIBITED, /* `plain` is between hosts that are kept apart: ICMP prohibited is due */
    WG_IN_HANDSHAKE,  /* hand a copy to wg_device_handshake */
    WG_IN_DROP,       /* malformed, unknown, replayed, not authentic, or not an allowed source */
};

/* One datagram, opened in place. */
struct wg_inbound {
    uint8_t *bytes;
    size_t len;
    struct wg_endpoint from;
    uint8_t ds; /* outer DS field and ECN bits */
    /* results */
    enum wg_inbound_verdict verdict;
    uint8_t *plain;
    size_t plain_len;
};

void wg_device_open(struct wg_device *dev, struct wg_inbound *datagrams, size_t count,
                    struct wg_time now);

/* ---- slow ---- */

/* Takes one handshake or cookie message, of any content and length. False: it was not for this
 * device and was dropped. Always true for a cookie reply. */
bool wg_device_handshake(struct wg_device *dev, const uint8_t *bytes, size_t len,
                         const struct wg_endpoint *from, bool under_load, struct wg_time now,
                         const struct wg_sink *sink);

/* Does what timers and fast callers have due, for half a millisecond or so; wg_device_deadline tells
 * whether there is more. Call it when that has passed or `wake` was called. */
void wg_device_run(struct wg_device *dev, struct wg_time now, const struct wg_sink *sink);

/* Boot time of the next wg_device_run that is needed, or WG_NEVER. */
uint64_t wg_device_deadline(struct wg_device *dev);

/* Lets the kernel choose the source for every peer until its next packet: what it would choose may
 * have changed with the port or the mark. */
void wg_device_forget_sources(struct wg_device *dev);

/* A peer's endpoint that has a source, as of wg_device_sources. */
struct wg_source {
    struct wg_peer *peer; /* opaque; holds a reference */
    struct wg_endpoint endpoint;
};

/* Lists the endpoints that have a source, so that they can be examined without the device's lock.
 * Returns 0, or -ENOMEM with nothing to free. */
int wg_device_sources(struct wg_device *dev, struct wg_source **out, size_t *count);
void wg_sources_free(struct wg_source *sources, size_t count);

/* Lets the kernel choose the source until the peer's next packet, unless the endpoint has changed
 * since it was listed. */
void wg_source_drop(const struct wg_source *source);

/* Calls `keep` for each peer whose endpoint has a source, with the device's lock held: `keep` may
 * not call the device. Where `keep` returns false, the kernel chooses the source until the peer's
 * next packet. */
void wg_device_review_sources(struct wg_device *dev,
                              bool (*keep)(void *ctx, const struct wg_endpoint *endpoint),
                              void *ctx);

/* Returns what was unpublished since the last call, or NULL. The caller frees it after a grace
 * period. */
struct wg_garbage *wg_device_take_garbage(struct wg_device *dev);
void wg_garbage_free(struct wg_garbage *garbage);

#endif
