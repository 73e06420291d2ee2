"""Tries to reach others over sockets. Asked: {"tcp": [[host, port]...], "udp": [[host, port]...], "abstract": [...],
"unix": [...], "names": [...], "families": bool}."""

import errno
import json
import os
import socket
import sys
import time

asked = json.load(sys.stdin)


def attempt(action):
    began = time.monotonic()
    try:
        answer = {"done": action()}
    except socket.gaierror as error:
        answer = {"errno": f"EAI {error.errno}"}
    except TimeoutError:
        answer = {"errno": "timed out"}
    except OSError as error:
        answer = {"errno": errno.errorcode.get(error.errno, str(error.errno))}
    answer["seconds"] = time.monotonic() - began
    return answer


def http(host, port):
    with socket.create_connection((host, port), timeout=5) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return connection.recv(64).decode(errors="replace")


def datagram(host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"canary", (host, port))


def local(address):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(address)


def interfaces():
    with open("/proc/self/net/dev") as table:
        return [line.split(":")[0].strip() for line in list(table)[2:]]


def raw(family, kind, protocol):
    socket.socket(family, kind, protocol).close()


json.dump(
    {
        "tcp": {f"{host} {port}": attempt(lambda: http(host, port)) for host, port in asked.get("tcp", [])},
        "udp": {f"{host} {port}": attempt(lambda: datagram(host, port)) for host, port in asked.get("udp", [])},
        "abstract": {name: attempt(lambda: local("\0" + name)) for name in asked.get("abstract", [])},
        "unix": {name: attempt(lambda: local(name)) for name in asked.get("unix", [])},
        "names": {name: attempt(lambda: socket.getaddrinfo(name, 80)) for name in asked.get("names", [])},
        "raw": {
            "packet": attempt(lambda: raw(socket.AF_PACKET, socket.SOCK_RAW, 0x0300)),
            "icmp": attempt(lambda: raw(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)),
            "icmp6": attempt(lambda: raw(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)),
        },
        "interfaces": interfaces(),
        "routes": len(open("/proc/self/net/route").readlines()) - 1,
    },
    sys.stdout,
)
