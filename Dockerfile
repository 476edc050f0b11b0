# A node or a peer in a container: README, "In a container". The packages of the last stage are what the programs need to
# run; tests/e2e/test_container.py makes the same image without Docker, from this file.
FROM debian:12-slim AS build
WORKDIR /src
COPY . .
RUN ./dev build release programs && DESTDIR=/image cmake --install build/release --prefix /usr --strip

FROM debian:12-slim
# The libraries that the programs are linked with, Redis, the firewall, and ping to try the network.
RUN apt-get update -q && apt-get install -y -q --no-install-recommends \
        libb2-1 libcap-ng0 libcjson1 libhiredis0.14 libmicrohttpd12 libmnl0 libnghttp2-14 libprotobuf-c1 libseccomp2 \
        libsodium23 libssl3 libunbound8 liburcu8 libuv1 \
        redis-server nftables iputils-ping \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log
COPY --from=build /image /
VOLUME ["/var/lib/heimdall", "/var/lib/heimdall-peer"]
EXPOSE 9000/tcp 10100/udp
# A node answers; a peer has nobody to ask.
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s \
    CMD ! grep -qsx heimdall /proc/[0-9]*/comm || hctl nodes list
CMD ["heimdall"]
