#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""proxy.py LOG: an HTTP proxy on loopback; prints its URL. What it was asked for, a line each, is in LOG.

It passes on requests with a whole URL, and tunnels (CONNECT).
"""
import http.client
import http.server
import select
import socket
import socketserver
import sys
import urllib.parse


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def note(self, target):
        with open(sys.argv[1], "a", encoding="utf-8") as f:
            f.write("%s %s\n" % (self.command, target))

    def do_CONNECT(self):
        self.note(self.path)
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port))) as far:
            self.send_response(200)
            self.end_headers()
            pair = {self.connection: far, far: self.connection}
            while True:
                for s in select.select(list(pair), [], [])[0]:
                    data = s.recv(1 << 16)
                    if not data:
                        self.close_connection = True
                        return
                    pair[s].sendall(data)

    def serve(self):
        u = urllib.parse.urlsplit(self.path)
        self.note("%s://%s" % (u.scheme, u.netloc))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        c = http.client.HTTPConnection(u.netloc)
        path = u.path + ("?" + u.query if u.query else "")
        c.putrequest(self.command, path, skip_host=True, skip_accept_encoding=True)
        for k, v in self.headers.items():
            if not k.lower().startswith("proxy-"):
                c.putheader(k, v)
        c.endheaders(body)
        a = c.getresponse()
        data = a.read()
        self.send_response(a.status)
        for k, v in a.getheaders():
            if k.lower() != "transfer-encoding":
                self.send_header(k, v)
        self.end_headers()
        self.wfile.write(data)
        c.close()

    do_GET = do_HEAD = do_PUT = do_DELETE = serve


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        pass


def main():
    server = Server(("127.0.0.1", 0), Handler)
    print("http://127.0.0.1:%d" % server.server_port, flush=True)
    server.serve_forever()


main()
