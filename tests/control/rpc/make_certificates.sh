#!/bin/sh
# make_certificates.sh FOLDER [PEER_ID]: an authority and certificates of each role, and of nobody, for tests.
set -eu
cd "$1"
quiet() { "$@" >/dev/null 2>&1; }
key() { quiet openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }
key ca
quiet openssl req -x509 -new -key ca.key -days 2 -subj /CN=test-authority -out ca.pem
key otherca
quiet openssl req -x509 -new -key otherca.key -days 2 -subj /CN=other-authority -out otherca.pem
# certificate NAME AUTHORITY SAN
certificate() {
    key "$1"
    quiet openssl req -new -key "$1.key" -subj "/CN=$1" -out "$1.csr"
    printf 'subjectAltName=%s\n' "$3" >"$1.ext"
    quiet openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -CAcreateserial -days 2 \
        -extfile "$1.ext" -out "$1.pem"
}
certificate node ca URI:heimdall:node/node-1,IP:127.0.0.1,DNS:localhost
certificate admin ca URI:heimdall:admin/alice
certificate peer ca "URI:heimdall:peer/${2:-peer-1}"
certificate nobody ca DNS:localhost,IP:127.0.0.1
certificate stranger otherca URI:heimdall:admin/mallory
