"""A TLS server and its client on the sandbox's own loopback, with `server.pem` and `authority.pem` of the workspace."""

import json
import socket
import ssl
import threading

server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server_side.load_cert_chain("server.pem")
client_side = ssl.create_default_context(cafile="authority.pem")
listener = socket.create_server(("127.0.0.1", 0))


def serve():
    for _ in range(2):
        connection, _ = listener.accept()
        try:
            with server_side.wrap_socket(connection, server_side=True) as secure:
                secure.sendall(secure.recv(100).upper())
        except ssl.SSLError:
            # Who does not trust us says so and leaves.
            connection.close()


threading.Thread(target=serve, daemon=True).start()


def ask(context):
    with socket.create_connection(listener.getsockname(), timeout=30) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as secure:
            secure.sendall(b"hello")
            return [secure.version(), secure.recv(100).decode()]


trusted = ask(client_side)
try:
    untrusted = ask(ssl.create_default_context())
except ssl.SSLCertVerificationError:
    untrusted = "refused"

print(json.dumps({"trusted": trusted, "untrusted": untrusted, "random": len(ssl.RAND_bytes(32))}))
