"""A server that answers each client with the address it has there (whoami.py serve), and its client (ask ADDRESS)."""
import socket
import sys

PORT = 7100


def serve():
    listener = socket.create_server(("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True)
    print("listening", flush=True)
    while True:
        conn, addr = listener.accept()
        with conn:
            conn.sendall(addr[0].removeprefix("::ffff:").encode())


def ask(address):
    with socket.create_connection((address, PORT), timeout=2) as conn:
        print(conn.recv(100).decode())


if __name__ == "__main__":
    serve() if sys.argv[1] == "serve" else ask(sys.argv[2])
