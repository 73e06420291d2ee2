"""The requests library: a server on the sandbox's own loopback answers, and nobody outside does."""

import http.server
import json
import threading

import requests


class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(201)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        body = json.dumps({"path": self.path, "agent": self.headers["x-agent"]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
threading.Thread(target=server.serve_forever, daemon=True).start()
port = server.server_address[1]


def error(url):
    try:
        return requests.get(url, timeout=5).status_code
    except requests.RequestException as refused:
        return type(refused).__name__


with requests.Session() as session:
    got = session.get(f"http://127.0.0.1:{port}/a?b=1", headers={"x-agent": "corpus"}, timeout=10)
    posted = session.post(f"http://localhost:{port}/", data=bytes(range(256)) * 1000, timeout=10)
    print(json.dumps({
        "got": got.json(),
        "posted": [posted.status_code, posted.content == bytes(range(256)) * 1000],
        "by_name": error("https://example.com/"),
        "by_address": error("http://192.0.2.1/"),
        "nobody": error("http://127.0.0.1:1/"),
    }))
server.shutdown()
