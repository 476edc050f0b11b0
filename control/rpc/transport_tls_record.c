#include "control/rpc/transport_tls_record.h"

#include "base/bytes.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEADER_LEN = 5,
    TAG_LEN = 16,
    IV_LEN = 12,
    KEY_MAX = 32,
    CIPHERTEXT_MAX = TLS_RECORD_MAX + 256,
    KEY_UPDATE_LEN = 5,
    UPDATE_AFTER = 1 << 23, /* records of one key: RFC 8446 section 5.5 has 2^24.5 for AES-GCM */
    EMPTY_MAX = 32,         /* records without content in a row */
};

enum content { ALERT = 21, HANDSHAKE = 22, APPLICATION_DATA = 23 };

enum alert {
    CLOSE_NOTIFY = 0,
    UNEXPECTED_MESSAGE = 10,
    BAD_RECORD_MAC = 20,
    RECORD_OVERFLOW = 22,
    DECODE_ERROR = 50,
    INTERNAL_ERROR = 80,
    USER_CANCELED = 90,
};

enum { WARNING = 1, FATAL = 2 };

static const struct suite {
    uint16_t code;
    const char *cipher;
    size_t key_len;
    const char *hash;
    size_t hash_len;
} suites[] = {
    {0x1301, "AES-128-GCM", 16, "SHA256", 32},
    {0x1302, "AES-256-GCM", 32, "SHA384", 48},
    {0x1303, "ChaCha20-Poly1305", 32, "SHA256", 32},
};

enum { SUITES = sizeof suites / sizeof suites[0] };

struct direction {
    uint8_t secret[TLS_SECRET_MAX];
    uint8_t key[KEY_MAX];
    uint8_t iv[IV_LEN];
    uint64_t sequence;
};

struct tls_records {
    const struct suite *suite;
    struct direction read, write;
    struct buffer in; /* received and not opened yet */
    unsigned empty;
    uint8_t alert; /* why `failed` */
    bool failed;
    bool ended; /* the other side's close_notify has come */
};

/* One context for all connections of a thread: a key is set up for each record. */
static _Thread_local EVP_CIPHER_CTX *context;
static _Thread_local EVP_CIPHER *ciphers[SUITES];
static _Thread_local uint8_t plain[CIPHERTEXT_MAX];

static const EVP_CIPHER *cipher_of(const struct suite *suite)
{
    size_t i = (size_t)(suite - suites);
    if (ciphers[i] == NULL)
        ciphers[i] = EVP_CIPHER_fetch(NULL, suite->cipher, NULL);
    if (context == NULL)
        context = EVP_CIPHER_CTX_new();
    return context == NULL ? NULL : ciphers[i];
}

/* HKDF-Expand-Label with an empty context (section 7.1), of at most one block of the hash. */
static bool expand(const struct suite *suite, const uint8_t *secret, const char *label,
                   uint8_t *out, size_t len)
{
    uint8_t info[64] = {0,   (uint8_t)len, (uint8_t)(6 + strlen(label)), 't', 'l', 's', '1',
                        '3', ' '};
    uint8_t block[EVP_MAX_MD_SIZE];
    unsigned block_len = 0;
    const EVP_MD *md = EVP_get_digestbyname(suite->hash);
    size_t at = 9 + strlen(label);
    memcpy(info + 9, label, strlen(label));
    info[at++] = 0; /* the context's length */
    info[at++] = 1; /* the block's number */
    bool ok = md != NULL &&
              HMAC(md, secret, (int)suite->hash_len, info, at, block, &block_len) != NULL &&
              block_len >= len;
    if (ok)
        memcpy(out, block, len);
    bytes_wipe(block, sizeof block);
    return ok;
}

static bool derive_keys(const struct suite *suite, struct direction *direction)
{
    direction->sequence = 0;
    return expand(suite, direction->secret, "key", direction->key, suite->key_len) &&
           expand(suite, direction->secret, "iv", direction->iv, IV_LEN);
}

/* The next generation of traffic keys (section 7.2). */
static bool update_keys(const struct suite *suite, struct direction *direction)
{
    uint8_t next[TLS_SECRET_MAX];
    if (!expand(suite, direction->secret, "traffic upd", next, suite->hash_len))
        return false;
    memcpy(direction->secret, next, suite->hash_len);
    bytes_wipe(next, sizeof next);
    return derive_keys(suite, direction);
}

struct tls_records *tls_records_create(uint16_t suite, const uint8_t *read_secret,
                                       const uint8_t *write_secret, size_t secret_len)
{
    struct tls_records *records = calloc(1, sizeof *records);
    for (size_t i = 0; records != NULL && i < SUITES; i++)
        if (suites[i].code == suite && suites[i].hash_len == secret_len)
            records->suite = &suites[i];
    if (records == NULL || records->suite == NULL || cipher_of(records->suite) == NULL)
        goto fail;
    buffer_init(&records->in);
    memcpy(records->read.secret, read_secret, secret_len);
    memcpy(records->write.secret, write_secret, secret_len);
    if (derive_keys(records->suite, &records->read) && derive_keys(records->suite, &records->write))
        return records;
fail:
    tls_records_destroy(records);
    return NULL;
}

void tls_records_destroy(struct tls_records *records)
{
    if (records == NULL)
        return;
    buffer_fini(&records->in);
    bytes_wipe(records, sizeof *records);
    free(records);
}

int tls_records_receive(struct tls_records *records, const uint8_t *bytes, size_t len)
{
    buffer_append(&records->in, bytes, len);
    return buffer_failed(&records->in) ? -ENOMEM : 0;
}

/* ---- sealing and opening ---- */

/* Sets the direction's key and the next record's nonce (section 5.3). */
static bool begin(const struct suite *suite, struct direction *direction, bool seal,
                  const uint8_t header[HEADER_LEN])
{
    uint8_t nonce[IV_LEN];
    int len;
    memcpy(nonce, direction->iv, IV_LEN);
    for (int i = 0; i < 8; i++)
        nonce[IV_LEN - 1 - i] ^= (uint8_t)(direction->sequence >> 8 * i);
    direction->sequence++;
    const EVP_CIPHER *cipher = cipher_of(suite);
    return cipher != NULL &&
           EVP_CipherInit_ex(context, cipher, NULL, direction->key, nonce, seal) == 1 &&
           EVP_CipherUpdate(context, NULL, &len, header, HEADER_LEN) == 1;
}

/* Appends one record to `out`. */
static bool seal_one(struct tls_records *records, enum content type, const uint8_t *bytes,
                     size_t len, struct buffer *out)
{
    size_t sealed = len + 1 + TAG_LEN;
    const uint8_t inner_type = (uint8_t)type;
    int part = 0, last = 0, end = 0;
    uint8_t *record = buffer_reserve(out, HEADER_LEN + sealed);
    if (record == NULL)
        return false;
    const uint8_t header[HEADER_LEN] = {APPLICATION_DATA, 3, 3, (uint8_t)(sealed >> 8),
                                        (uint8_t)sealed};
    memcpy(record, header, HEADER_LEN);
    uint8_t *at = record + HEADER_LEN;
    if (!begin(records->suite, &records->write, true, header) ||
        EVP_CipherUpdate(context, at, &part, bytes, (int)len) != 1 ||
        EVP_CipherUpdate(context, at + part, &last, &inner_type, 1) != 1 ||
        EVP_CipherFinal_ex(context, at + part + last, &end) != 1 ||
        (size_t)(part + last + end) != len + 1 ||
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, at + len + 1) != 1)
        return false;
    buffer_commit(out, HEADER_LEN + sealed);
    return true;
}

/* Opens a record's ciphertext into `plain`; false when it is not authentic. */
static bool open_one(struct tls_records *records, const uint8_t *record, size_t len)
{
    const uint8_t *sealed = record + HEADER_LEN;
    int part = 0, end = 0;
    uint8_t tag[TAG_LEN];
    len -= TAG_LEN;
    memcpy(tag, sealed + len, TAG_LEN);
    return begin(records->suite, &records->read, false, record) &&
           EVP_CipherUpdate(context, plain, &part, sealed, (int)len) == 1 &&
           EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, tag) == 1 &&
           EVP_CipherFinal_ex(context, plain + part, &end) == 1 && (size_t)(part + end) == len;
}

static int fail(struct tls_records *records, enum alert alert, struct buffer *out)
{
    const uint8_t message[] = {FATAL, (uint8_t)alert};
    records->failed = true;
    records->alert = (uint8_t)alert;
    (void)seal_one(records, ALERT, message, sizeof message, out);
    return -EPROTO;
}

int tls_records_renew(struct tls_records *records, struct buffer *out)
{
    static const uint8_t message[KEY_UPDATE_LEN] = {24, 0, 0, 1, 0}; /* update_not_requested */
    bool renewed = seal_one(records, HANDSHAKE, message, sizeof message, out) &&
                   update_keys(records->suite, &records->write);
    return renewed ? 0 : -EIO;
}

/* ---- what comes ---- */

static int take_alert(struct tls_records *records, size_t len, struct buffer *out)
{
    if (len != 2)
        return fail(records, DECODE_ERROR, out);
    if (plain[1] == USER_CANCELED)
        return 0;
    records->ended = plain[1] == CLOSE_NOTIFY;
    records->failed = !records->ended;
    records->alert = plain[1];
    return records->ended ? -EPIPE : -EPROTO;
}

/* After the handshake a client has a key update to send, in a record of its own, and nothing else. */
static int take_handshake(struct tls_records *records, size_t len, struct buffer *out)
{
    static const uint8_t begin_of_update[] = {24, 0, 0, 1};
    if (len != KEY_UPDATE_LEN || memcmp(plain, begin_of_update, sizeof begin_of_update) != 0 ||
        plain[4] > 1)
        return fail(records, UNEXPECTED_MESSAGE, out);
    if (!update_keys(records->suite, &records->read) ||
        (plain[4] == 1 && tls_records_renew(records, out) < 0))
        return fail(records, INTERNAL_ERROR, out);
    return 0;
}

/* The content of an opened record behind its padding. Bytes of application data, 0 for anything
 * else that is fine. */
static int take_content(struct tls_records *records, size_t len, uint8_t *bytes, size_t capacity,
                        struct buffer *out)
{
    while (len > 0 && plain[len - 1] == 0)
        len--;
    if (len == 0)
        return fail(records, UNEXPECTED_MESSAGE, out);
    uint8_t type = plain[--len];
    if (len > TLS_RECORD_MAX || len > capacity)
        return fail(records, RECORD_OVERFLOW, out);
    records->empty = type == APPLICATION_DATA && len > 0 ? 0 : records->empty + 1;
    if (records->empty > EMPTY_MAX)
        return fail(records, UNEXPECTED_MESSAGE, out);
    switch (type) {
    case APPLICATION_DATA:
        memcpy(bytes, plain, len);
        return (int)len;
    case ALERT:
        return take_alert(records, len, out);
    case HANDSHAKE:
        return take_handshake(records, len, out);
    default:
        return fail(records, UNEXPECTED_MESSAGE, out);
    }
}

/* The length of the ciphertext of the record at the front; 0 when it is not whole, or -EPROTO. */
static int whole_record(struct tls_records *records, struct buffer *out)
{
    const uint8_t *record = buffer_data(&records->in);
    size_t have = buffer_len(&records->in);
    if (have < HEADER_LEN)
        return 0;
    size_t len = (size_t)record[3] << 8 | record[4];
    if (record[0] != APPLICATION_DATA)
        return fail(records, UNEXPECTED_MESSAGE, out);
    if (len > CIPHERTEXT_MAX)
        return fail(records, RECORD_OVERFLOW, out);
    if (len < TAG_LEN + 1)
        return fail(records, BAD_RECORD_MAC, out);
    return have < HEADER_LEN + len ? 0 : (int)len;
}

int tls_records_read(struct tls_records *records, uint8_t *bytes, size_t capacity,
                     struct buffer *out, uint8_t *alert)
{
    int rv = records->failed ? -EPROTO : records->ended ? -EPIPE : 0;
    while (rv == 0) {
        int len = rv = whole_record(records, out);
        if (len <= 0)
            break;
        bool authentic = open_one(records, buffer_data(&records->in), (size_t)len);
        buffer_consume(&records->in, HEADER_LEN + (size_t)len);
        rv = authentic ? take_content(records, (size_t)len - TAG_LEN, bytes, capacity, out)
                       : fail(records, BAD_RECORD_MAC, out);
    }
    *alert = records->alert;
    if (buffer_len(&records->in) == 0)
        buffer_fini(&records->in);
    return rv;
}

int tls_records_write(struct tls_records *records, const uint8_t *bytes, size_t len,
                      struct buffer *out)
{
    while (len > 0) {
        size_t part = len < TLS_RECORD_MAX ? len : TLS_RECORD_MAX;
        if (records->failed ||
            (records->write.sequence >= UPDATE_AFTER && tls_records_renew(records, out) < 0) ||
            !seal_one(records, APPLICATION_DATA, bytes, part, out))
            return -EIO;
        bytes += part;
        len -= part;
    }
    return 0;
}

void tls_records_end(struct tls_records *records, struct buffer *out)
{
    static const uint8_t message[] = {WARNING, CLOSE_NOTIFY};
    if (!records->failed)
        (void)seal_one(records, ALERT, message, sizeof message, out);
}
