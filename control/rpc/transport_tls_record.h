#ifndef CONTROL_RPC_TRANSPORT_TLS_RECORD_H
#define CONTROL_RPC_TRANSPORT_TLS_RECORD_H

#include "base/buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The records of TLS 1.3 once the handshake is done (RFC 8446 section 5): application data, alerts
 * and key updates under the traffic secrets that OpenSSL agreed on, sealed by its AEADs. A session
 * of OpenSSL keeps 14 KiB for as long as it lives, these a few hundred bytes. Private to the
 * transport. */

enum {
    TLS_SECRET_MAX = 48,
    TLS_RECORD_MAX = 16384, /* plaintext of one record */
};

struct tls_records;

/* `suite` is TLS 1.3's code (0x1301: TLS_AES_128_GCM_SHA256, ...); the secrets are copied. NULL for
 * another suite, or when memory is short. */
struct tls_records *tls_records_create(uint16_t suite, const uint8_t *read_secret,
                                       const uint8_t *write_secret, size_t secret_len);

/* Wipes and frees; takes NULL. */
void tls_records_destroy(struct tls_records *records);

/* Takes bytes from the network. 0 or -ENOMEM. */
int tls_records_receive(struct tls_records *records, const uint8_t *bytes, size_t len);

/* The content of the next record of application data: its length, 0 when it waits, -EPIPE after the
 * other side's close_notify, -EPROTO after a fatal alert of either side: *alert is its number.
 * `capacity` is TLS_RECORD_MAX at least. Answers may be added to `out`. */
int tls_records_read(struct tls_records *records, uint8_t *bytes, size_t capacity,
                     struct buffer *out, uint8_t *alert);

/* Appends records with these bytes to `out`. 0, or -EIO after a failure. */
int tls_records_write(struct tls_records *records, const uint8_t *bytes, size_t len,
                      struct buffer *out);

/* Renews the keys for what is written, which tls_records_write does every 2^23 records. 0 or -EIO. */
int tls_records_renew(struct tls_records *records, struct buffer *out);

/* Appends a close_notify. */
void tls_records_end(struct tls_records *records, struct buffer *out);

#endif
