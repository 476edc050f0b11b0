"""Pre-shared keys of the control API, for openssl's own client, as control/rpc/transport_key.c makes them."""
import hashlib
import hmac
import re

RANDOM = re.compile(r"[0-9a-f]{32,}|[0-9a-f]{8}-[0-9a-f]{4}-(4[0-9a-f]{3}-[0-9a-f]|[0-9a-f]{4}-[0-7c-f])[0-9a-f]{3}-[0-9a-f]{12}")


def stretch(secret):
    """The secret, costly to guess."""
    salt = b"heimdall secret v2"
    if RANDOM.fullmatch(secret):
        return hashlib.pbkdf2_hmac("sha256", secret.encode(), salt, 1000).hex()
    return hashlib.scrypt(secret.encode(), salt=salt, n=1 << 15, r=8, p=1, maxmem=64 << 20, dklen=32).hex()


def derive(secret, role):
    """The pre-shared key and its name: HKDF-SHA256, one block."""
    secret = stretch(secret)
    extract = hmac.new(b"heimdall control v1", secret.encode(), hashlib.sha256).digest()
    key = hmac.new(extract, f"tls psk {role}".encode() + b"\x01", hashlib.sha256).digest()
    return key.hex(), f"{role}:{hashlib.sha256(b'heimdall psk identity' + secret.encode()).hexdigest()}"
