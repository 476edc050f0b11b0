"""Pre-shared keys of the control API, for openssl's own client."""
import hashlib
import hmac


def derive(secret, role):
    """The pre-shared key and its name, as control/rpc/transport_key.c makes them: HKDF-SHA256, one block."""
    extract = hmac.new(b"heimdall control v1", secret.encode(), hashlib.sha256).digest()
    key = hmac.new(extract, f"tls psk {role}".encode() + b"\x01", hashlib.sha256).digest()
    return key.hex(), f"{role}:{hashlib.sha256(b'heimdall psk identity' + secret.encode()).hexdigest()}"
