#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fake of Azure Blob and of S3 on loopback: checks signatures, follows a script of faults.

usage: blobs.py azure|s3 [CERTIFICATE-AND-KEY.pem]

Prints "READY URL" (https: with a certificate), then serves until its standard input ends. Each line there is a
command, answered by one line:

  fault KIND [METHOD] [N=1] [SKIP=0] [MATCH]
                 after SKIP requests of METHOD ("*": any) whose path and query have MATCH,
                 the next N of them meet KIND (see Handler.fault)
  count          the number of requests, and of each method, as JSON
  log            the requests since the last log, as JSON: [[method, path, status], ...]
  revoke         no bearer token that was seen so far lets in any more; how many there were
  deny METHOD    403 for METHOD from now on; allow METHOD
  sync SECONDS   the secondary copy says that it is whole up to so long from now
  fail-primary, fail-primary off    503 from the first location, whatever is asked

Account "acct" with a key, and its SAS "sv=1&sig=SECRETSAS"; S3: TESTKEY, TESTSECRET.
"""
import base64
import collections
import email.utils
import hashlib
import hmac
import http.server
import json
import socket
import socketserver
import ssl
import struct
import sys
import threading
import time
import urllib.parse
from xml.sax.saxutils import escape

KEY = base64.b64encode(b"the key of the account: 32 bytes!").decode()
SAS = "sv=1&sig=SECRETSAS"
DRIP = 0.3


class Blob:
    def __init__(self, data):
        self.data = data
        self.etag = '"0x%s"' % hashlib.sha256(data + str(time.time_ns()).encode()).hexdigest()[:16]
        self.modified = time.time()


class World:
    def __init__(self):
        self.lock = threading.RLock()
        self.places = {}        # container: {name: Blob}
        self.stale = {}         # container: names, as lists show them
        self.faults = []
        self.counts = collections.Counter()
        self.log = []
        self.denied = set()
        self.sync = 0.0
        self.primary_fails = False
        self.tokens = set()     # bearer tokens that were seen
        self.revoked = set()

    def fault(self, method, target):
        """The fault that this request meets, or None."""
        with self.lock:
            for f in self.faults:
                if f["method"] not in ("*", method) or f["match"] not in target:
                    continue
                if f["skip"]:
                    f["skip"] -= 1
                    continue
                if f["n"]:
                    f["n"] -= 1
                    return f["kind"]
        return None


WORLD = World()


class Refused(Exception):
    def __init__(self, status, code):
        super().__init__(code)
        self.status, self.code = status, code


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are two writes.
    disable_nagle_algorithm = True
    kind = "azure"

    def log_message(self, *_):
        pass

    # --- one request ---

    def serve(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return
        self.body = body
        self.sent = 0
        path, _, query = self.path.partition("?")
        self.rawpath, self.rawquery = path, query
        self.query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        with WORLD.lock:
            WORLD.counts["all"] += 1
            WORLD.counts[self.command] += 1
        self.trouble = WORLD.fault(self.command, self.path)
        try:
            if self.before():
                return
            self.check()
            self.second = False
            place, name = self.where()
            if WORLD.primary_fails and not self.second:
                raise Refused(503, "ServerBusy")
            if self.command in WORLD.denied:
                raise Refused(403, "AuthorizationPermissionMismatch"
                              if self.kind == "azure" else "AccessDenied")
            self.act(place, name)
        except Refused as e:
            self.answer(e.status, self.error(e.code), {"x-ms-error-code": e.code}
                        if self.kind == "azure" else {})

    do_GET = do_HEAD = do_PUT = do_DELETE = do_POST = serve

    # --- faults ---

    def before(self):
        """Those that come before anything is done; True: it is over."""
        t = self.trouble
        if t == "503":
            raise Refused(503, "ServerBusy" if self.kind == "azure" else "SlowDown")
        if t in ("503-later", "503-far"):
            self.answer(503, self.error("ServerBusy"), {"Retry-After": "1" if t == "503-later" else "3600"})
            return True
        if t == "500":
            raise Refused(500, "OperationTimedOut" if self.kind == "azure" else "InternalError")
        if t == "409-conflict":
            raise Refused(409, "ConditionalRequestConflict")
        if t == "reset":
            self.reset()
            return True
        if t == "close":
            self.close_connection = True
            return True
        if t == "hang":
            time.sleep(3600)
        return False

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def answer(self, status, body=b"", headers=None, length=None):
        with WORLD.lock:
            WORLD.log.append([self.command, self.path.split("sig=")[0], status])
        if self.trouble == "lost":
            # All was done, and nobody is told.
            self.reset()
            return
        self.send_response(status)
        for k, v in (headers or {}).items():
            self.send_header(k, v)
        if status != 204:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command == "HEAD":
            return
        ok = status in (200, 206) and self.command == "GET"
        if ok and self.trouble == "truncate":
            self.wfile.write(body[:len(body) // 2])
            self.close_connection = True
        elif ok and self.trouble == "truncate-reset":
            self.wfile.write(body[:len(body) // 2])
            self.wfile.flush()
            time.sleep(0.05)
            self.reset()
        elif ok and self.trouble == "drip":
            for i in range(len(body)):
                self.wfile.write(body[i:i + 1])
                self.wfile.flush()
                time.sleep(DRIP)
        else:
            self.wfile.write(body)

    def error(self, code):
        if self.command == "HEAD":
            return b""
        return ('<?xml version="1.0" encoding="utf-8"?><Error><Code>%s</Code>'
                '<Message>because\nRequestId:1</Message></Error>' % code).encode()

    # --- what lets in ---

    def check(self):
        if self.kind == "azure":
            self.check_azure()
        else:
            self.check_s3()

    def check_azure(self):
        if "sig" in self.query:
            # Byte for byte, at the end.
            if not self.rawquery.endswith(SAS):
                raise Refused(403, "AuthenticationFailed")
            return
        h = self.headers
        if h.get("Authorization", "").startswith("Bearer "):
            self.check_token(h["Authorization"].removeprefix("Bearer "))
            return
        get = lambda k: h.get(k, "")
        length = get("Content-Length")
        text = "\n".join([self.command, get("Content-Encoding"), get("Content-Language"),
                          "" if length == "0" else length, get("Content-MD5"), get("Content-Type"),
                          "" if h.get("x-ms-date") else get("Date"), get("If-Modified-Since"),
                          get("If-Match"), get("If-None-Match"), get("If-Unmodified-Since"), get("Range")])
        own = sorted((k.lower(), v.strip()) for k, v in h.items() if k.lower().startswith("x-ms-"))
        text += "\n" + "".join("%s:%s\n" % kv for kv in own)
        text += "/acct" + self.rawpath
        for k in sorted(self.query, key=str.lower):
            text += "\n%s:%s" % (k.lower(), self.query[k])
        sig = base64.b64encode(hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest())
        if h.get("Authorization") != "SharedKey acct:" + sig.decode():
            raise Refused(403, "AuthenticationFailed")

    def check_token(self, token):
        """A JWT for storage, unsigned as those of the double are, and not expired."""
        try:
            text = token.split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        except (IndexError, ValueError):
            raise Refused(401, "InvalidAuthenticationInfo") from None
        with WORLD.lock:
            WORLD.tokens.add(token)
            known = token not in WORLD.revoked
        if not known or claims["aud"].rstrip("/") != "https://storage.azure.com" or claims["exp"] < time.time():
            raise Refused(401, "InvalidAuthenticationInfo")

    def check_s3(self):
        h = self.headers
        try:
            auth = dict(p.strip().split("=", 1) for p in
                        h["Authorization"].removeprefix("AWS4-HMAC-SHA256 ").split(","))
            who, day, region, service, _ = auth["Credential"].split("/")
            names = auth["SignedHeaders"].split(";")
        except (KeyError, TypeError, ValueError, AttributeError):
            raise Refused(403, "AccessDenied") from None
        payload = hashlib.sha256(self.body).hexdigest()
        if h.get("x-amz-content-sha256") != payload:
            raise Refused(400, "XAmzContentSHA256Mismatch")
        quote = lambda s: urllib.parse.quote(s, safe="-._~")
        query = "&".join(sorted("%s=%s" % (quote(k), quote(v)) for k, v in self.query.items()))
        canon = "\n".join([self.command, self.rawpath, query,
                           "".join("%s:%s\n" % (n, h[n].strip()) for n in names), ";".join(names), payload])
        text = "\n".join(["AWS4-HMAC-SHA256", h["x-amz-date"], "%s/%s/s3/aws4_request" % (day, region),
                          hashlib.sha256(canon.encode()).hexdigest()])
        key = b"AWS4TESTSECRET"
        for part in (day, region, "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        sig = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        if who != "TESTKEY" or service != "s3" or sig != auth["Signature"]:
            raise Refused(403, "SignatureDoesNotMatch")

    # --- objects ---

    def where(self):
        path = urllib.parse.unquote(self.rawpath).lstrip("/")
        if self.kind == "azure":
            account, _, path = path.partition("/")
            self.second = account == "acct-secondary"
            if account not in ("acct", "acct-secondary"):
                raise Refused(404, "ResourceNotFound")
        place, _, name = path.partition("/")
        return place, name

    def act(self, place, name):
        if self.kind == "azure" and self.query.get("comp") == "stats":
            when = email.utils.formatdate(time.time() + WORLD.sync, usegmt=True)
            self.answer(200, ('<StorageServiceStats><GeoReplication><Status>live</Status><LastSyncTime>%s'
                              '</LastSyncTime></GeoReplication></StorageServiceStats>' % when).encode())
            return
        if self.second and self.command not in ("GET", "HEAD"):
            raise Refused(403, "WriteOperationNotSupportedOnSecondary")
        with WORLD.lock:
            if not name and self.command == "PUT":
                if place in WORLD.places:
                    raise Refused(409, "ContainerAlreadyExists")
                WORLD.places[place] = {}
                self.answer(201 if self.kind == "azure" else 200)
                return
            blobs = WORLD.places.get(place)
            if blobs is None:
                raise Refused(404, "ContainerNotFound" if self.kind == "azure" else "NoSuchBucket")
        if not name:
            self.list(place, blobs)
        elif self.command == "PUT":
            self.put(blobs, name)
        elif self.command == "DELETE":
            self.delete(place, blobs, name)
        else:
            self.get(blobs, name)

    def put(self, blobs, name):
        for _ in range(2 if self.trouble == "twice" else 1):
            with WORLD.lock:
                if name in blobs and self.headers.get("If-None-Match") == "*" \
                        and self.trouble != "overwrite":
                    status, code = (409, "BlobAlreadyExists") if self.kind == "azure" \
                        else (412, "PreconditionFailed")
                else:
                    blobs[name] = Blob(self.body)
                    status, code = 201 if self.kind == "azure" else 200, None
        # Delivered twice, the second answer is the one that comes.
        if code:
            raise Refused(status, code)
        self.answer(status, b"", {"ETag": blobs[name].etag})

    def delete(self, place, blobs, name):
        with WORLD.lock:
            if name not in blobs and self.kind == "azure":
                raise Refused(404, "BlobNotFound")
            blobs.pop(name, None)
        self.answer(202 if self.kind == "azure" else 204)

    def get(self, blobs, name):
        with WORLD.lock:
            blob = blobs.get(name)
        if not blob:
            raise Refused(404, "BlobNotFound" if self.kind == "azure" else "NoSuchKey")
        etag, data = blob.etag, blob.data
        if self.trouble == "other-etag":
            etag = '"another"'
        match = self.headers.get("If-Match")
        if match and match != etag:
            raise Refused(412, "ConditionNotMet")
        head = {"ETag": etag, "Last-Modified": email.utils.formatdate(blob.modified, usegmt=True),
                "x-ms-blob-type": "BlockBlob"}
        wanted = self.headers.get("x-ms-range") or self.headers.get("Range")
        if not wanted or self.trouble == "ignore-range":
            self.answer(200, data, head)
            return
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        first, last = int(first), min(int(last or len(data) - 1), len(data) - 1)
        if first >= len(data):
            self.answer(416, self.error("InvalidRange"), {"Content-Range": "bytes */%d" % len(data)})
            return
        if self.trouble == "shift":
            first, last = first + 1, last + 1
        if self.trouble == "short" and last > first:
            last -= 1
        head["Content-Range"] = "bytes %d-%d/%d" % (first, last, len(data))
        part = data[first:last + 1]
        if self.trouble == "long":
            part += b"more"
        self.answer(206, part, head)

    def list(self, place, blobs):
        fold = self.query.get("delimiter")
        prefix = self.query.get("prefix", "")
        after = self.query.get("marker") or self.query.get("start-after") or ""
        most = int(self.query.get("maxresults") or self.query.get("max-keys") or 1000)
        with WORLD.lock:
            if self.trouble == "stale-list":
                names = WORLD.stale.get(place, [])
            else:
                names = WORLD.stale[place] = sorted(blobs)
            entries = []        # (name, size or None)
            for n in names:
                if not n.startswith(prefix):
                    continue
                cut = n.find("/", len(prefix)) if fold else -1
                e = (n[:cut + 1], None, 0) if cut >= 0 else \
                    (n, len(blobs[n].data) if n in blobs else 0,
                     blobs[n].modified if n in blobs else 0)
                if e[0] > after and (cut < 0 or n > after) and (not entries or entries[-1][0] != e[0]):
                    entries.append(e)
        if self.trouble == "empty-page":
            page, more = [], after or "!"
        else:
            page, more = entries[:most], entries[most - 1][0] if len(entries) > most else None
        if self.kind == "azure":
            text = "".join(
                "<BlobPrefix><Name>%s</Name></BlobPrefix>" % escape(n) if size is None else
                "<Blob><Name>%s</Name><Properties><Last-Modified>%s</Last-Modified>"
                "<Content-Length>%d</Content-Length></Properties></Blob>"
                % (escape(n), email.utils.formatdate(when, usegmt=True), size)
                for n, size, when in page)
            text = ('\ufeff<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs>%s</Blobs>'
                    '<NextMarker>%s</NextMarker></EnumerationResults>' % (text, escape(more or "")))
        else:
            text = "".join("<Contents><Key>%s</Key><Size>%d</Size></Contents>" % (escape(n), size)
                           for n, size, _ in page if size is not None)
            text += "".join("<CommonPrefixes><Prefix>%s</Prefix></CommonPrefixes>" % escape(n)
                            for n, size, _ in page if size is None)
            text = ('<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
                    '<IsTruncated>%s</IsTruncated>%s</ListBucketResult>' % (str(bool(more)).lower(), text))
        data = text.encode()
        if self.trouble == "truncate-xml":
            data = data[:len(data) // 2]
        self.answer(200, data)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        pass


def command(line):
    words = line.split()
    with WORLD.lock:
        if words[0] == "fault":
            words += ["*", "1", "0", ""][len(words) - 2:]
            WORLD.faults.append({"kind": words[1], "method": words[2], "n": int(words[3]),
                                 "skip": int(words[4]), "match": words[5] if len(words) > 5 else ""})
        elif words[0] == "clear":
            left = sum(f["n"] for f in WORLD.faults)
            WORLD.faults.clear()
            return str(left)
        elif words[0] == "count":
            return json.dumps(WORLD.counts)
        elif words[0] == "log":
            log, WORLD.log = WORLD.log, []
            return json.dumps(log)
        elif words[0] == "deny":
            WORLD.denied.add(words[1])
        elif words[0] == "allow":
            WORLD.denied.discard(words[1])
        elif words[0] == "revoke":
            WORLD.revoked |= WORLD.tokens
            return str(len(WORLD.tokens))
        elif words[0] == "sync":
            WORLD.sync = float(words[1])
        elif words[0] == "fail-primary":
            WORLD.primary_fails = words[1:] != ["off"]
        else:
            return "unknown: " + line
    return "ok"


def main():
    Handler.kind = sys.argv[1]
    server = Server(("127.0.0.1", 0), Handler)
    if len(sys.argv) > 2:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(sys.argv[2])
        # The handshake is in the thread of the connection.
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("READY http%s://127.0.0.1:%d" % ("s" * (len(sys.argv) > 2), server.server_port), flush=True)
    for line in sys.stdin:
        if line.strip():
            print(command(line.strip()), flush=True)


if __name__ == "__main__":
    main()
