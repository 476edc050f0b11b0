#!/usr/bin/env python3
"""Prints tests/wg/handshake_vectors.h: whole WireGuard handshakes with fixed keys and times.

An implementation of its own, written after the WireGuard paper's section 5.4 and sharing nothing with the
engine: BLAKE2s and HMAC from Python's standard library, X25519 and ChaCha20-Poly1305 from the package
`cryptography` (pip install cryptography), HChaCha20 below. Run it only to make the table again.
"""
import hashlib
import hmac
import struct

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CONSTRUCTION = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
IDENTIFIER = b"WireGuard v1 zx2c4 Jason@zx2c4.com"


def HASH(data):
    return hashlib.blake2s(data).digest()


def MAC(key, data):
    return hashlib.blake2s(data, key=key, digest_size=16).digest()


def KDF(n, key, data):
    t0 = hmac.new(key, data, hashlib.blake2s).digest()
    out, last = [], b""
    for i in range(1, n + 1):
        last = hmac.new(t0, last + bytes([i]), hashlib.blake2s).digest()
        out.append(last)
    return out


def AEAD(key, counter, plain, aad):
    return ChaCha20Poly1305(key).encrypt(struct.pack("<IQ", 0, counter), plain, aad)


def public(private):
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def DH(private, pub):
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(pub))


def hchacha20(key, nonce):
    """draft-irtf-cfrg-xchacha-03, section 2.2"""
    s = list(struct.unpack("<16I", b"expand 32-byte k" + key + nonce))

    def quarter(a, b, c, d):
        for x, y, z, r in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            s[x] = (s[x] + s[y]) & 0xFFFFFFFF
            v = s[z] ^ s[x]
            s[z] = (v << r | v >> (32 - r)) & 0xFFFFFFFF

    for _ in range(10):
        for i in range(4):
            quarter(i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return struct.pack("<8I", *(s[:4] + s[12:]))


def XAEAD(key, nonce, plain, aad):
    return ChaCha20Poly1305(hchacha20(key, nonce[:16])).encrypt(bytes(4) + nonce[16:], plain, aad)


def label(tag, case):
    """32 bytes that look random and can be made again."""
    return hashlib.sha256(f"heimdall handshake vector {case}: {tag}".encode()).digest()


def tai64n(real_ns):
    return struct.pack(">QI", 2**62 + 10 + real_ns // 10**9, (real_ns % 10**9) >> 24 << 24)


def macs(body, receiver_public, cookie):
    body += MAC(HASH(b"mac1----" + receiver_public), body)
    return body + (MAC(cookie, body) if cookie else bytes(16))


def handshake(case, psk, real_ns):
    si, sr, ei, er = (label(t, case) for t in ("static i", "static r", "ephemeral i", "ephemeral r"))
    index_i, index_r = (struct.unpack("<I", label(t, case)[:4])[0] for t in ("index i", "index r"))
    spi, spr, epi, epr = map(public, (si, sr, ei, er))
    source = label("source", case)[:6]  # IPv4 address and port
    secret, nonce = label("secret", case), label("nonce", case)[:24]

    c = HASH(CONSTRUCTION)
    h = HASH(HASH(c + IDENTIFIER) + spr)
    (c,) = KDF(1, c, epi)
    h = HASH(h + epi)
    c, k = KDF(2, c, DH(ei, spr))
    static = AEAD(k, 0, spi, h)
    h = HASH(h + static)
    c, k = KDF(2, c, DH(si, spr))
    timestamp = AEAD(k, 0, tai64n(real_ns), h)
    h = HASH(h + timestamp)
    body = struct.pack("<II", 1, index_i) + epi + static + timestamp
    initiation = macs(body, spr, None)

    cookie = MAC(secret, source)
    reply = struct.pack("<II", 3, index_i) + nonce
    reply += XAEAD(HASH(b"cookie--" + spr), nonce, cookie, initiation[116:132])
    with_cookie = macs(body, spr, cookie)

    (c,) = KDF(1, c, epr)
    h = HASH(h + epr)
    (c,) = KDF(1, c, DH(er, epi))
    (c,) = KDF(1, c, DH(er, spi))
    c, tau, k = KDF(3, c, psk)
    h = HASH(h + tau)
    body = struct.pack("<III", 2, index_r, index_i) + epr + AEAD(k, 0, b"", h)
    response = macs(body, spi, None)
    to_r, to_i = KDF(2, c, b"")

    return dict(
        static_i=si, static_r=sr, ephemeral_i=ei, ephemeral_r=er, psk=psk, index_i=index_i, index_r=index_r,
        real_ns=real_ns, source=source, secret=secret, nonce=nonce, initiation=initiation, reply=reply,
        initiation_with_cookie=with_cookie, response=response, key_to_r=to_r, key_to_i=to_i)


def show(name, value):
    if isinstance(value, int):
        return f"     .{name} = UINT64_C({value}),\n" if name == "real_ns" else f"     .{name} = {value}u,\n"
    rows = [", ".join(f"0x{b:02x}" for b in value[i:i + 14]) for i in range(0, len(value), 14)]
    return f"     .{name} = {{" + ",\n         ".join(rows) + "},\n"


CASES = [
    handshake("no preshared key", bytes(32), 1700000000 * 10**9 + 123456789),
    handshake("preshared key", label("psk", "preshared key"), 4102444800 * 10**9 + 999999999),
    handshake("low nanoseconds", label("psk", "low nanoseconds"), 1 * 10**9 + 0xFFFFFF),
]

print("""/* Made by make_handshake_vectors.py; see there. */
/* clang-format off */
static const struct {
    uint8_t static_i[32], static_r[32], ephemeral_i[32], ephemeral_r[32], psk[32];
    uint32_t index_i, index_r;
    uint64_t real_ns;
    uint8_t source[6]; /* IPv4 address and port that the initiation comes from */
    uint8_t secret[32], nonce[24]; /* of the cookie reply */
    uint8_t initiation[148], reply[64], initiation_with_cookie[148], response[92];
    uint8_t key_to_r[32], key_to_i[32];
} handshake_vectors[] = {""")
for case in CASES:
    print("    {\n" + "".join(show(k, v) for k, v in case.items()).rstrip(",\n") + "},")
print("};\n/* clang-format on */")
