#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast vaults on a server are, over a way that takes time: medians and ratios of one run.

usage: remote.py [--quick] [--delay MS] [--json FILE] [--list] [WORD...]

A WORD selects the rows whose name contains it. Ceph's radosgw serves on loopback, in
memory, behind tests/bench/proxy.c, which holds each request back for 20 ms and counts.
The limit of a row is what the way gives to sixteen plain requests at once, of the same
objects, measured right before and after. Peers, where they are installed: rclone mount,
and s3backer. Reads BUILD (where the programs are, default build/).
"""
import concurrent.futures
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import time
import urllib.parse

from bench import BUILD, GIB, MIB, SRC, Bench, Failed, Mount, Skipped, arguments, run_rows, say

KEY, SECRET, REGION = "TESTKEY", "TESTSECRET", "us-east-1"
BUCKET = "bench"
ROWS = []


def row(name):
    def add(f):
        ROWS.append((name, f))
        return f
    return add


def mib(rate):
    return f"{rate / MIB:.0f} MiB/s"


class Proxy:
    def __init__(self, server, delay):
        self.p = subprocess.Popen([BUILD / "tests/bench/proxy", server, str(delay)],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.address = f"127.0.0.1:{int(self.p.stdout.readline())}"

    def tell(self, command):
        self.p.stdin.write(command + "\n")
        self.p.stdin.flush()
        return self.p.stdout.readline()

    def reset(self):
        self.tell("reset")

    def stats(self):
        return json.loads(self.tell("stats"))

    def close(self):
        self.p.stdin.close()
        self.p.wait()


class S3:
    """Just enough of a client to fill and empty the service with: signed by hand."""

    def __init__(self, address):
        self.address = address
        self.local = {}

    def request(self, c, method, path, query="", body=b"", fields=()):
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        scope = f"{now[:8]}/{REGION}/s3/aws4_request"
        signed = {"host": self.address, "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
                  "x-amz-date": now}
        names = ";".join(sorted(signed))
        canonical = "\n".join([method, path, query,
                               *(f"{k}:{signed[k]}" for k in sorted(signed)), "", names,
                               "UNSIGNED-PAYLOAD"])
        to_sign = "\n".join(["AWS4-HMAC-SHA256", now, scope,
                             hashlib.sha256(canonical.encode()).hexdigest()])
        key = ("AWS4" + SECRET).encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
        head = {k: v for k, v in signed.items() if k != "host"}
        head.update(fields)
        head["Authorization"] = (f"AWS4-HMAC-SHA256 Credential={KEY}/{scope}, "
                                 f"SignedHeaders={names}, Signature={signature}")
        c.request(method, path + ("?" + query if query else ""), body=body, headers=head)
        return c.getresponse()

    def connect(self):
        return http.client.HTTPConnection(self.address, timeout=120)

    def once(self, method, key, query="", body=b""):
        c = self.connect()
        a = self.request(c, method, f"/{BUCKET}{'/' + key if key else ''}", query, body)
        data = a.read()
        c.close()
        if a.status >= 300:
            raise Failed(f"{method} {key}: {a.status} {data[:200]}")
        return data

    def names(self, prefix):
        """All objects below it, with their sizes."""
        found, after = [], ""
        while True:
            query = f"list-type=2&prefix={urllib.parse.quote(prefix, safe='')}"
            if after:
                query = (f"list-type=2&prefix={urllib.parse.quote(prefix, safe='')}"
                         f"&start-after={urllib.parse.quote(after, safe='')}")
            text = self.once("GET", "", "&".join(sorted(query.split("&")))).decode()
            page = [(k, int(n)) for k, n in re.findall(
                r"<Key>([^<]*)</Key>.*?<Size>(\d+)</Size>", text, re.S)]
            found += page
            if "<IsTruncated>true" not in text or not page:
                return found
            after = page[-1][0]

    def many(self, jobs, threads):
        """Jobs (method, key, body) on so many connections; bytes moved, seconds."""
        def work(part):
            c = self.connect()
            n = 0
            buffer = bytearray(1 << 20)
            for method, key, body in part:
                a = self.request(c, method, f"/{BUCKET}/{key}", "", body or b"")
                if a.status >= 300:
                    raise Failed(f"{method} {key}: {a.status}")
                n += len(body or b"")
                while got := a.readinto(buffer):
                    n += got
            c.close()
            return n
        start = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            total = sum(pool.map(work, [jobs[i::threads] for i in range(threads)]))
        return total, time.monotonic() - start


class Remote(Bench):
    def __init__(self, args):
        super().__init__(args)
        self.size = 256 * MIB if args.quick else GIB
        self.runs = 2 if args.quick else 3
        where = self.ram / "service"
        where.mkdir()
        server = SRC / "tests/remote/radosgw"
        started = subprocess.run([server, "start", where], text=True, stdout=subprocess.PIPE,
                                 env=dict(self.env, MEMORY="8G"), check=False)
        self.stack.callback(subprocess.run, [server, "stop", where], check=False)
        if started.returncode:
            raise Failed("radosgw does not start")
        direct = urllib.parse.urlsplit(started.stdout.strip()).netloc
        self.proxy = Proxy(direct, args.delay)
        self.stack.callback(self.proxy.close)
        self.s3 = S3(self.proxy.address)
        S3(direct).once("PUT", "")
        self.env.update(AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET, AWS_REGION=REGION,
                        AWS_ENDPOINT_URL=f"http://{self.proxy.address}")
        # Of the machine, and not for a service on loopback; rclone stumbles over the last.
        for name in ("http_proxy", "all_proxy", "ALL_PROXY", "AWS_CA_BUNDLE"):
            self.env.pop(name, None)

    def vault_url(self):
        def make():
            url = f"s3://{BUCKET}/vault"
            self.vaultctl("init", url, "--name", "bench")
            self.vaultctl("backup", url, "vm", "--disk", f"os={self.image()}", limit=900)
            return url
        return self.once("remote vault", make)

    def far_mount(self, *options):
        return Mount([BUILD / "vaultfs", "-f", *options, self.vault_url(), self.ram / "mnt"],
                     self.ram / "mnt", self.env, 120)

    def segments(self):
        self.vault_url()
        return self.once("segments", lambda: [k for k, _ in self.s3.names("vault/V/vm/d/")
                                              if "/s/" in k])

    def way(self, threads=16):
        """What the way gives to plain requests for the same objects."""
        total, took = self.s3.many([("GET", k, None) for k in self.segments()], threads)
        return total / took


def read_all(path, size):
    start = time.monotonic()
    with open(path, "rb", buffering=0) as f:
        n = 0
        buffer = bytearray(1 << 20)
        while got := f.readinto(buffer):
            n += got
    if n != size:
        raise Failed(f"{path}: {n} bytes instead of {size}")
    return n / (time.monotonic() - start)


def peak_mib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        for line in f:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0


@row("mount, list, open, read 4 KiB")
def first(b):
    b.vault_url()
    samples = []
    for _ in range(b.runs):
        b.proxy.reset()
        with b.far_mount("--disk-cache-size", "0") as m:
            os.listdir(m.mnt / "bench/vm")
            with open(m.mnt / "bench/vm/latest/disks/os.img", "rb", buffering=0) as f:
                os.pread(f.fileno(), 4096, 123 << 20)
        samples.append(b.proxy.stats())
    n = max(s["rounds"] for s in samples)
    b.line("round trips", f"{n}", f"{max(s['requests'] for s in samples)} requests", None,
           "at most 10", n <= 10, samples=samples)


@row("sequential read through the mount")
def sequential(b):
    b.vault_url()
    ways, values, counts, peaks = [], [], [], []
    single = b.way(1)
    for i in range(b.runs + 1):
        before = b.way()
        b.proxy.reset()
        with b.far_mount("--disk-cache-size", "0") as m:
            value = read_all(m.mnt / "bench/vm/latest/disks/os.img", b.size)
            peak = peak_mib(m.p.pid)
        counts.append(b.proxy.stats())
        after = b.way()
        say(f"  {b.row}: {mib(value)}, the way {mib((before + after) / 2)}, "
            f"{counts[-1]['requests']} requests")
        if i:
            values.append(value)
            ways.append((before + after) / 2)
            peaks.append(peak)
    value, way = statistics.median(values), statistics.median(ways)
    ratio = statistics.median(v / w for v, w in zip(values, ways))
    b.line("against the way, 16 at once", mib(value), mib(way), ratio, "", None,
           samples=values, limits=ways)
    b.line("against one request of 4 MiB at a time", mib(value), mib(single), value / single,
           "at least 16, or the way", value >= 16 * single or ratio >= 0.8)
    b.line("memory", f"{max(peaks):.0f} MiB", "", None, "under 256 MiB", max(peaks) < 256)
    b.line("requests", f"{counts[-1]['requests']}",
           f"{counts[-1]['in_flight_max']} at once", None, "", None)
    b.made["sequential"] = value


@row("the same, second time, from the disk cache")
def second(b):
    b.vault_url()
    keep = b.ram / "kept"
    options = ("--cache-dir", keep, "--disk-cache-size", "2G")
    for _ in range(2):
        with b.far_mount(*options) as m:
            read_all(m.mnt / "bench/vm/latest/disks/os.img", b.size)
    b.proxy.reset()
    with b.far_mount(*options) as m:
        value = read_all(m.mnt / "bench/vm/latest/disks/os.img", b.size)
    s = b.proxy.stats()
    b.line("bytes from the server", f"{s['bytes_down'] / 1024:.0f} KiB",
           f"{s['requests']} requests, {mib(value)}", None, "no data", s["bytes_down"] < 1 << 20)
    shutil.rmtree(keep)


@row("random 4 KiB reads through the mount")
def random_reads(b):
    b.vault_url()
    b.proxy.reset()
    times = []
    with b.far_mount("--disk-cache-size", "0") as m:
        fd = os.open(m.mnt / "bench/vm/latest/disks/os.img", os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        os.pread(fd, 4096, 0)
        x = 1
        for _ in range(200):
            x = (x * 6364136223846793005 + 1442695040888963407) % (1 << 64)
            start = time.monotonic()
            os.pread(fd, 4096, (x >> 33) % (b.size // 4096) * 4096)
            times.append(time.monotonic() - start)
        os.close(fd)
    s = b.proxy.stats()
    b.line("median", f"{statistics.median(times) * 1000:.1f} ms", "", None, "", None)
    b.line("fetched for 200", f"{s['bytes_down'] / MIB:.1f} MiB", f"{s['requests']} requests",
           None, "at most 15 MiB", s["bytes_down"] <= 15 * MIB)


@row("backup")
def backup(b):
    image = b.image()
    data = image.read_bytes()[:b.size]
    step = 4 * MIB
    values, limits = [], []
    for i in range(b.runs):
        before = b.s3.many([("PUT", f"plain/{i}-{n}", data[n:n + step])
                            for n in range(0, len(data), step)], 16)
        took, _ = b.vaultctl("backup", b.vault_url(), f"backup-{i}", "--disk", f"os={image}",
                             limit=900)
        say(f"  {b.row}: {mib(b.size / took)}, the way {mib(before[0] / before[1])}")
        values.append(b.size / took)
        limits.append(before[0] / before[1])
        for n in range(0, len(data), step):
            b.s3.once("DELETE", f"plain/{i}-{n}")
    ratio = statistics.median(v / w for v, w in zip(values, limits))
    b.line("against 16 plain puts at once", mib(statistics.median(values)),
           mib(statistics.median(limits)), ratio, "at least 0.8", ratio >= 0.8, samples=values)


@row("restore")
def restore(b):
    b.vault_url()
    values, ways = [], []
    for _ in range(b.runs):
        way = b.way()
        took, _ = b.vaultctl("restore", b.vault_url(), "vm", "latest", "--disk", "os", "--to",
                             b.ram / "restored", limit=900)
        values.append(b.size / took)
        ways.append(way)
        os.unlink(b.ram / "restored")
    ratio = statistics.median(v / w for v, w in zip(values, ways))
    b.line("against the way", mib(statistics.median(values)), mib(statistics.median(ways)),
           ratio, "", None, samples=values)


@row("against rclone mount, the same data as one object")
def rclone(b):
    if not shutil.which("rclone"):
        raise Skipped("rclone is not installed")
    env = dict(b.env, RCLONE_CONFIG="/dev/null", RCLONE_CONFIG_R_TYPE="s3",
               RCLONE_CONFIG_R_PROVIDER="Ceph", RCLONE_CONFIG_R_ACCESS_KEY_ID=KEY,
               RCLONE_CONFIG_R_SECRET_ACCESS_KEY=SECRET, RCLONE_CONFIG_R_REGION=REGION,
               RCLONE_CONFIG_R_ENDPOINT=f"http://{b.proxy.address}")
    b.run("rclone", "copyto", b.image(), f"r:{BUCKET}/one/image", "--s3-chunk-size", "64M",
          env=env, limit=600)
    ours, theirs = [], []
    for _ in range(b.runs):
        with b.far_mount("--disk-cache-size", "0") as m:
            ours.append(read_all(m.mnt / "bench/vm/latest/disks/os.img", b.size))
        with Mount(["rclone", "mount", f"r:{BUCKET}/one", b.ram / "rc", "--read-only",
                    "--dir-cache-time", "1h"], b.ram / "rc", env, 60) as m:
            theirs.append(read_all(m.mnt / "image", b.size))
        say(f"  {b.row}: {mib(ours[-1])}, rclone {mib(theirs[-1])}")
    ratio = statistics.median(o / t for o, t in zip(ours, theirs))
    b.line("sequential read", mib(statistics.median(ours)), mib(statistics.median(theirs)),
           ratio, "at least 3", ratio >= 3, samples=ours, peers=theirs)


@row("against s3backer")
def s3backer(b):
    if not shutil.which("s3backer"):
        raise Skipped("s3backer is not installed")
    size = min(b.size, 256 * MIB)
    auth = b.ram / "s3backer.auth"
    auth.write_text(f"{KEY}:{SECRET}\n", encoding="ascii")
    auth.chmod(0o600)
    common = ["s3backer", f"--accessFile={auth}", f"--baseURL=http://{b.proxy.address}/",
              "--blockSize=1M", f"--size={size}", "--listBlocks", "--force",
              "--authVersion=aws4", "--prefix=s3b/", "-f"]
    with open(b.image(), "rb") as f:
        jobs = [("PUT", f"s3b/{i:08x}", f.read(MIB)) for i in range(size // MIB)]
    b.s3.many(jobs, 16)
    ours, theirs = [], []
    for _ in range(b.runs):
        with b.far_mount("--disk-cache-size", "0") as m:
            start = time.monotonic()
            with open(m.mnt / "bench/vm/latest/disks/os.img", "rb", buffering=0) as f:
                n = sum(len(f.read(MIB)) for _ in range(size // MIB))
            ours.append(n / (time.monotonic() - start))
        with Mount([*common, "--readOnly", "--readAhead=16", BUCKET, b.ram / "sb"],
                   b.ram / "sb", b.env, 60) as m:
            theirs.append(read_all(m.mnt / "file", size))
        say(f"  {b.row}: {mib(ours[-1])}, s3backer {mib(theirs[-1])}")
    ratio = statistics.median(o / t for o, t in zip(ours, theirs))
    b.line("sequential read", mib(statistics.median(ours)), mib(statistics.median(theirs)),
           ratio, "", None, samples=ours, peers=theirs)


@row("access trace of a file system browse")
def trace(b):
    _, out = b.run(BUILD / "tests/unit/test_browse", env=dict(b.env, TMPDIR=str(b.ram)))
    for text in out.splitlines():
        found = re.match(r"browse: (\d+) requests for (\d+) windows, (\d+) bytes of (\d+)", text)
        if found:
            n, windows, size, most = (int(x) for x in found.groups())
            b.line("requests", f"{n}", f"{windows} windows", n / windows, "at most 1.2",
                   n <= 1.2 * windows)
            b.line("fetched", f"{size / MIB:.1f} MiB", "", None, f"at most {most // MIB} MiB",
                   size <= most)


def main():
    parser = arguments(__doc__, "a smaller image, 2 runs")
    parser.add_argument("--delay", type=int, default=20, help="of each request, in ms (20)")
    args = parser.parse_args()
    return run_rows(args, ROWS, Remote, lambda b: {"delayMs": args.delay},
                    lambda b: f"radosgw on loopback, {args.delay} ms a request; "
                              f"image of {b.size // MIB} MiB")


if __name__ == "__main__":
    sys.exit(main())
