"""A small web app and job for tests of Cloud Run: what it does is in MODE and in the path. Standard library only."""

# ruff: noqa: T201, S104

import ctypes
import json
import os
import signal
import socket
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

MODE = os.environ.get("MODE", "")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if url.path == "/sleep":
            time.sleep(float(query["s"][0]))
        if url.path == "/wait":  # until the test hangs up
            with socket.create_connection(("127.0.0.1", int(query["port"][0]))) as held:
                held.recv(1)
        if url.path == "/self":
            with urlopen(f"http://{query['host'][0]}:{os.environ['PORT']}/") as found:
                return self.answer(found.read())
        if url.path == "/crash":
            os._exit(7)
        if url.path == "/healthz" and (MODE == "unhealthy" or UNWELL.is_set()):
            return self.answer(b"unwell", 500)
        if url.path == "/unwell":
            UNWELL.set()
        if url.path == "/env":
            return self.answer(json.dumps(dict(os.environ)).encode())
        if url.path == "/headers":
            return self.answer(json.dumps(dict(self.headers.items())).encode())
        if url.path == "/login":
            self.send_response(302)
            self.send_header("Location", f"https://{self.headers['Host']}/admin/")
            self.send_header("Set-Cookie", "sessionid=1; Path=/; Secure; HttpOnly; SameSite=None; Domain=example.com")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        if url.path == "/stream":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for _ in range(50):
                self.wfile.write(b"%x\r\n%s\r\n" % (10_000, b"x" * 10_000))
            self.wfile.write(b"0\r\n\r\n")
            return None
        return self.answer(os.environ.get("ANSWER", os.environ.get("K_REVISION", "")).encode())

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def answer(self, body, status=200):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


UNWELL = threading.Event()


def job():
    print(
        json.dumps({"severity": "NOTICE", "message": f"task {os.environ['CLOUD_RUN_TASK_INDEX']}", "k": 1}), flush=True
    )
    if MODE == "flaky" and os.environ["CLOUD_RUN_TASK_ATTEMPT"] == "0":
        sys.exit(1)
    if MODE == "sleep":
        time.sleep(60)
    sys.exit(int(os.environ.get("EXIT", "0")))


def main():
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if "CLOUD_RUN_JOB" in os.environ:
        job()
    if MODE == "crash":
        print("no such setting", file=sys.stderr, flush=True)
        sys.exit(3)
    if MODE == "silent":
        time.sleep(60)
    host = "127.0.0.1" if MODE == "loopback" else "0.0.0.0"
    ThreadingHTTPServer.request_queue_size = 128
    server = ThreadingHTTPServer((host, int(os.environ["PORT"])), Handler, bind_and_activate=MODE != "foreign")
    if MODE == "foreign":  # as a server does that is not written in Python: with bind(2)
        family = struct.pack("H" if sys.platform == "linux" else "xB", socket.AF_INET)
        address = family + struct.pack("!H4s8x", int(os.environ["PORT"]), socket.inet_aton(host))
        ctypes.CDLL(None).bind(server.fileno(), address, len(address))
        server.server_activate()
    server.serve_forever()


main()
