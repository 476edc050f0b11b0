#include "control/state/access.h"

#include "base/bytes.h"
#include "base/err.h"
#include "control/state/strength.h"
#include "wg/wg.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

int access_check_id(const char *text, const char *what, struct err *err)
{
    static const char make[] = "make a good one with: cat /proc/sys/kernel/random/uuid";
    size_t len = strlen(text);
    if (len == 0)
        return err_set(err, -EINVAL, "the %s is empty; %s", what, make);
    if (len > ACCESS_ID_MAX)
        return err_set(err, -EINVAL, "the %s is longer than %d characters; %s", what, ACCESS_ID_MAX,
                       make);
    for (const char *c = text; *c != '\0'; c++)
        if (!isalnum((unsigned char)*c) && strchr("-_.+/=", *c) == NULL)
            return err_set(err, -EINVAL, "the %s may only have letters, digits and - _ . + / =; %s",
                           what, make);
    unsigned bits = strength_bits(text);
    if (bits < ACCESS_MIN_BITS)
        return err_set(err, -EINVAL,
                       "the %s is too easy to guess (about %u bits, %d are needed); %s", what, bits,
                       ACCESS_MIN_BITS, make);
    return 0;
}

void access_make_id(const uint8_t random[16], char out[ACCESS_MADE_ID_TEXT])
{
    char hex[33];
    bytes_to_hex(hex, random, 16);
    /* no version of RFC 9562 made of a time, an address or a name: such ids are stretched longer */
    if (hex[12] != '4' && hex[16] >= '8' && hex[16] <= '9')
        hex[16] = (char)(hex[16] - '8' + '0');
    else if (hex[12] != '4' && hex[16] >= 'a' && hex[16] <= 'b')
        hex[16] = (char)(hex[16] - 'a' + '2');
    static const uint8_t groups[] = {8, 4, 4, 4, 12};
    const char *from = hex;
    for (size_t i = 0; i < sizeof groups; i++) {
        memcpy(out, from, groups[i]);
        from += groups[i];
        out += groups[i];
        *out++ = i + 1 < sizeof groups ? '-' : '\0';
    }
    bytes_wipe(hex, sizeof hex);
}

int access_check_name(const char *text, char out[ACCESS_NAME_MAX + 1], struct err *err)
{
    size_t len = strlen(text);
    bool good = len >= 1 && len <= ACCESS_NAME_MAX && text[0] != '-' && text[len - 1] != '-';
    for (size_t i = 0; good && i < len; i++) {
        good = isalnum((unsigned char)text[i]) || text[i] == '-';
        out[i] = (char)tolower((unsigned char)text[i]);
    }
    if (!good) {
        out[0] = '\0';
        return err_set(err, -EINVAL,
                       "\"%.80s\" is not a name: use 1 to 63 letters, digits and inner hyphens",
                       text);
    }
    out[len] = '\0';
    return 0;
}

void access_name_from_host(const char *host, char out[ACCESS_NAME_MAX + 1])
{
    size_t len = 0;
    for (const char *c = host; *c != '\0' && *c != '.' && len < ACCESS_NAME_MAX; c++) {
        bool good = isalnum((unsigned char)*c);
        if (good || len > 0)
            out[len++] = (char)(good ? tolower((unsigned char)*c) : '-');
    }
    while (len > 0 && out[len - 1] == '-')
        len--;
    out[len] = '\0';
}

int access_check_public_key(const char *text, uint8_t out[32], struct err *err)
{
    if (strlen(text) != BASE64_KEY_LEN || !bytes_from_base64(out, 32, text) ||
        bytes_is_zero_ct(out, 32))
        return err_set(err, -EINVAL, "the WireGuard public key is not 32 bytes in base64");
    if (!wg_public_key_is_usable(out))
        return err_set(err, -EINVAL,
                       "the WireGuard public key is not one that wg genkey could make");
    return 0;
}
