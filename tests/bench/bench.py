#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast the programs are: medians, as ratios to a limit or a peer in the same run.

usage: bench.py [--quick] [--json FILE] [--list] [WORD...]

A WORD selects the rows whose name contains it. Whole programs are timed; the first
run of each only warms up. One core of SHA-256 is measured right before and after
each run, since the speed of a machine drifts, and each run has its ratio to it.
Vaults and targets are in memory (/dev/shm); the rows "on disk" are in TMPDIR
(/var/tmp), and wait for `sync -f`. Needs as much free memory as five images of
2 GiB (--quick: 512 MiB), and two of 8 GiB (2 GiB) for the incremental rows, or
these are on disk. Reads BUILD (where the programs are, default build/).
"""
import argparse
import contextlib
import json
import os
import pathlib
import platform
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

SRC = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("BUILD") or SRC / "build").resolve()
MIB = 1 << 20
GIB = 1 << 30
FRAME = 64 << 10
PAGE = 4096


class Failed(Exception):
    """A row that cannot be had; its text says why."""


class Skipped(Exception):
    """A peer or row that is not possible here."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def rate_text(rate):
    return f"{rate / 1e9:.2f} GB/s"


def available():
    """Memory that may be taken, in bytes."""
    with open("/proc/meminfo", encoding="ascii") as f:
        for line in f:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    return 0


def caches_dropped():
    """How often somebody emptied the page cache (vm.drop_caches)."""
    with open("/proc/vmstat", encoding="ascii") as f:
        return [line for line in f if line.startswith(("drop_pagecache", "drop_slab"))]


def free_in(path):
    s = os.statvfs(path)
    return s.f_bavail * s.f_frsize


def tree_size(path):
    return sum(p.stat().st_size for p in pathlib.Path(path).rglob("*") if p.is_file())


def remove(*paths):
    for path in paths:
        if os.path.isdir(path):
            shutil.rmtree(path)
        elif os.path.lexists(path):
            os.unlink(path)


class Hash:
    """One core of SHA-256, whenever it is asked for."""

    def __init__(self, size):
        self.p = subprocess.Popen([BUILD / "tests/bench/meter", "hash", size],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  text=True)
        if self.p.stdout.readline() != "ready\n":
            raise Failed("the meter does not work")
        self.rate()

    def rate(self):
        self.p.stdin.write("\n")
        self.p.stdin.flush()
        return float(self.p.stdout.readline())

    def close(self):
        self.p.stdin.close()
        self.p.wait()


class Mount:
    """A file system that is served by a child; a context."""

    def __init__(self, argv, mnt, env, limit=30):
        self.mnt = pathlib.Path(mnt)
        self.mnt.mkdir(exist_ok=True)
        self.log = tempfile.TemporaryFile()
        self.p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=self.log,
                                  stderr=subprocess.STDOUT, env=env)
        end = time.monotonic() + limit
        while not os.path.ismount(self.mnt):
            if self.p.poll() is not None or time.monotonic() > end:
                self.p.kill()
                self.p.wait()
                self.log.seek(0)
                said = self.log.read().decode("utf-8", "replace").strip()
                raise Failed(f"{argv[0]} did not mount: {said[-300:]}")
            time.sleep(0.005)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.p.poll() is None:
            subprocess.run(["fusermount3", "-u", self.mnt], check=False,
                           stderr=subprocess.DEVNULL)
        try:
            self.p.wait(20)
        except subprocess.TimeoutExpired:
            subprocess.run(["fusermount3", "-uz", self.mnt], check=False)
            self.p.kill()
            self.p.wait()

    def stats(self):
        return json.loads(os.getxattr(self.mnt, "user.vaultfs.stats"))


class Peer:
    """Another program, run in turns with ours as long as its time lasts."""

    def __init__(self, name, run, target=None, budget=45.0):
        self.name = name
        self.run = run
        self.target = target
        self.left = budget
        self.values = []  # of each turn; None: not run
        self.reason = None

    def turn(self):
        value = None
        if self.left > 0 and not self.reason:
            start = time.monotonic()
            try:
                value = self.run()
            except (Skipped, Failed) as e:
                self.reason = str(e)
            self.left -= time.monotonic() - start
        self.values.append(value)


class Bench:
    def __init__(self, args):
        self.quick = args.quick
        self.start = time.monotonic()
        self.runs = 3 if args.quick else 5
        self.size = 512 * MIB if args.quick else 2 * GIB
        self.big = 2 * GIB if args.quick else 8 * GIB
        self.changed = 25 * MIB if args.quick else 100 * MIB
        self.peer_seconds = 12 if args.quick else 45
        while self.size > 64 * MIB and available() < 6 * self.size:
            self.size //= 2
            say(f"little memory is free: an image of {self.size // MIB} MiB only")
        self.row = ""
        self.lines = []
        self.errors = 0
        self.made = {}
        self.stack = contextlib.ExitStack()
        self.ram = self.directory("/dev/shm" if os.path.isdir("/dev/shm") else None)
        self.disk = self.directory(os.environ.get("TMPDIR") or "/var/tmp")
        home = self.ram / "home"
        self.env = {k: v for k, v in os.environ.items()
                    if not k.startswith(("VAULTFS_", "VAULTCTL_", "RESTIC_", "BORG_"))}
        self.env.update(
            HOME=str(home), XDG_CONFIG_HOME=str(home / "config"),
            XDG_STATE_HOME=str(home / "state"), XDG_CACHE_HOME=str(home / "cache"),
            LC_ALL="C.UTF-8", TZ="UTC", RESTIC_PASSWORD="benchmark",
            BORG_BASE_DIR=str(home), BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK="yes",
            BORG_RELOCATED_REPO_ACCESS_IS_OK="yes")
        home.mkdir()
        self.hash = Hash("256M" if args.quick else "512M")
        self.stack.callback(self.hash.close)

    def directory(self, above):
        path = pathlib.Path(tempfile.mkdtemp(prefix="vaultfs-bench.", dir=above)).resolve()
        self.stack.callback(shutil.rmtree, path, ignore_errors=True)
        return path

    # --- running programs ---

    def run(self, *argv, limit=120, cwd=None, env=None):
        """Seconds that it took, and its output."""
        start = time.monotonic()
        try:
            p = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL,
                               capture_output=True, env=env or self.env, cwd=cwd,
                               timeout=limit, check=False)
        except FileNotFoundError as e:
            raise Skipped(f"{argv[0]} is not installed") from e
        except subprocess.TimeoutExpired as e:
            raise Failed(f"{argv[0]}: over {limit} s") from e
        took = time.monotonic() - start
        if p.returncode:
            said = p.stderr.decode("utf-8", "replace").strip().splitlines()
            raise Failed(f"{' '.join(str(a) for a in argv[:2])}: exit code {p.returncode}: "
                         f"{said[-1] if said else ''}")
        return took, p.stdout.decode("utf-8", "replace")

    def meter(self, *argv):
        return [float(x) for x in self.run(BUILD / "tests/bench/meter", *argv)[1].split()]

    def vaultctl(self, *argv, limit=300):
        return self.run(BUILD / "vaultctl", *argv, limit=limit)

    # --- what rows share ---

    def once(self, name, make):
        """Made by the first row that needs it."""
        if name not in self.made:
            self.made[name] = make()
        return self.made[name]

    def drop(self, *names):
        for name in names:
            if name in self.made:
                remove(self.made.pop(name))

    def image(self):
        def make():
            path = self.ram / "image"
            self.meter("fill", path, self.size, 1)
            return path
        return self.once("image", make)

    def vault(self):
        """A vault in memory that has the image as VM 'vm', disk 'os'."""
        def make():
            path = self.ram / "vault"
            self.vaultctl("init", path, "--name", "bench")
            self.vaultctl("backup", path, "vm", "--disk", f"os={self.image()}")
            return path
        return self.once("vault", make)

    def mount(self):
        m = Mount([BUILD / "vaultfs", "-f", self.vault(), self.ram / "mnt"],
                  self.ram / "mnt", self.env)
        return m, m.mnt / "bench/vm/latest/disks/os.img"

    def restic(self):
        def make():
            path = self.ram / "restic"
            self.run("restic", "-r", path, "init", "--repository-version", "2")
            self.run("restic", "-r", path, "backup", "--compression", "off",
                     "--pack-size", "64", self.image().name, cwd=self.ram, limit=180)
            return path
        return self.once("restic", make)

    # --- measuring ---

    def turns(self, ours, peers=(), runs=None):
        """Ours between two measures of the hash, then each peer; all again. Lists of
        our values and of the limits, the warm-up left out."""
        runs = runs or self.runs
        values, limits = [], []
        for i in range(runs + 1):
            before = self.hash.rate()
            value = ours()
            after = self.hash.rate()
            for p in peers:
                p.turn()
            say(f"  {self.row}: {'warm-up' if i == 0 else f'{i}/{runs}'}: "
                f"{value if isinstance(value, str) else self.short(value)}, "
                f"hash {rate_text((before + after) / 2)}"
                + "".join(f", {p.name} {self.short(p.values[-1])}" for p in peers
                          if p.values[-1] is not None))
            if i:
                values.append(value)
                limits.append((before + after) / 2)
        return values, limits

    @staticmethod
    def short(value):
        return rate_text(value) if value and value > 1e6 else f"{value}"

    def line(self, what, ours, peer="", ratio=None, target="", ok=None, **more):
        """One line of the table. ok None: only told."""
        self.lines.append(dict(row=self.row, what=what, ours=ours, peer=peer,
                               ratio=ratio, target=target, ok=ok, **more))

    def against_hash(self, what, values, limits, target=None):
        ratios = [v / l for v, l in zip(values, limits)]
        ratio = statistics.median(ratios)
        self.line(what, rate_text(statistics.median(values)),
                  f"one core of SHA-256: {rate_text(statistics.median(limits))}", ratio,
                  f"at least {target:g}" if target else "",
                  ratio >= target if target else None,
                  samples=values, limits=limits, ratios=ratios)

    def against_peer(self, what, values, peer):
        """Turn by turn; a peer that had time for its warm-up only is compared by that."""
        theirs = peer.values[1:]
        pairs = [(v, t) for v, t in zip(values, theirs) if t]
        note = f"{peer.name}"
        if not pairs and peer.values and peer.values[0]:
            pairs = [(statistics.median(values), peer.values[0])]
            note += ", once"
        if not pairs:
            self.line(what, rate_text(statistics.median(values)), peer.name, None, "",
                      None, skipped=peer.reason or "no time left")
            return
        ratio = statistics.median(v / t for v, t in pairs)
        target, ok = "", None
        if peer.target:
            target, ok = f"at least {peer.target:g}", ratio >= peer.target
        self.line(what, rate_text(statistics.median(values)),
                  f"{note}: {rate_text(statistics.median(t for _, t in pairs))}",
                  ratio, target, ok, samples=values, peer_samples=[t for _, t in pairs])


# --- rows ---

ROWS = []


def row(name):
    def register(f):
        ROWS.append((name, f))
        return f
    return register


@row("sequential read, cold")
def sequential_cold(b):
    def ours():
        m, path = b.mount()
        with m:
            return b.meter("read", path)[0]

    def restic():
        m = Mount(["restic", "-r", b.restic(), "mount", b.ram / "rmnt"], b.ram / "rmnt",
                  b.env)
        with m:
            return b.meter("read", m.mnt / "snapshots/latest" / b.image().name)[0]

    if not shutil.which("restic"):
        def restic():  # pylint: disable=function-redefined
            raise Skipped("restic is not installed")
    peer = Peer("restic mount", restic, 3, b.peer_seconds)
    values, limits = b.turns(ours, [peer])
    b.drop("restic")
    b.against_hash("1 MiB reads through the mount", values, limits, 0.75)
    b.against_peer("1 MiB reads through the mount", values, peer)


@row("sequential read, second time")
def sequential_warm(b):
    reads, others = [], []

    def again(path):
        return statistics.median(b.meter("read", path)[0] for _ in range(5))

    def once():
        m, path = b.mount()
        with m:
            b.meter("read", path)
            before = m.stats()
            value = again(path)
            after = m.stats()
        return value, {k: after[k] - before[k] for k in after
                       if k not in ("nodes", "getxattr", "read_bytes")
                       and after[k] > before[k]}

    def ours():
        for _ in range(5):
            dropped = caches_dropped()
            value, asked = once()
            if caches_dropped() == dropped:
                break
            say(f"  {b.row}: somebody dropped the caches; once more")
        reads.append(asked.pop("read", 0))
        others.append(asked)
        return value

    def fake():
        m = Mount([BUILD / "tests/bench/mount_fake", "-s", str(b.size), b.ram / "fmnt"],
                  b.ram / "fmnt", b.env)
        with m:
            path = m.mnt / "fake/memory/latest/disks/os.img"
            b.meter("read", path)
            return again(path)

    peer = Peer("FUSE file in memory", fake, 0.9, 300)
    values, _ = b.turns(ours, [peer])
    told = ", ".join(f"{v} {k}" for k, v in sorted(others[-1].items())) or "none"
    b.line("requests that reach the daemon", f"{max(reads)} reads (others: {told})",
           target="no reads", ok=max(reads) == 0, reads=reads, others=others)
    b.against_peer("1 MiB reads through the mount", values, peer)


@row("random 4 KiB reads, cold")
def random_cold(b):
    count = 500 if b.quick else 2000
    tails = []
    turn = iter(range(1000))

    def ours():
        m, path = b.mount()
        with m:
            median, tail = b.meter("random", path, count, next(turn))
            tails.append(tail)
            return median

    values, limits = b.turns(ours)
    median = statistics.median(values)
    b.line("median latency", f"{median:.0f} us",
           f"hash of a frame: {statistics.median(FRAME / l * 1e6 for l in limits):.0f} us",
           None, "under 200 us", median < 200, samples=values, p95=tails)


def disk_reads(trace, start):
    """(object, offset) of each read of a disk's objects that strace saw. Calls of several
    threads are cut in two where they met."""
    begun = {}
    with open(trace, encoding="utf-8", errors="replace") as f:
        f.seek(start)
        for text in f:
            pid = text.split(maxsplit=1)[0]
            found = re.search(r"<(/[^>]*/d/os/[^>]*/[sm]/[0-9a-f]+)>", text)
            if found and "<unfinished" in text:
                begun[pid] = found[1]
                continue
            path = found[1] if found else begun.pop(pid, None) if "resumed>" in text else None
            if path:
                yield path, re.search(r", (\d+)\) += ", text)[1]


@row("random 4 KiB reads, requests to the store")
def random_requests(b):
    if not shutil.which("strace"):
        raise Skipped("strace is not installed")
    count = 300
    trace = b.ram / "trace"
    argv = ["strace", "-f", "-qq", "-y", "-e", "trace=pread64,preadv,preadv2,read",
            "-e", "signal=none", "-o", trace, BUILD / "vaultfs", "-f", b.vault(),
            b.ram / "mnt"]
    with Mount(argv, b.ram / "mnt", b.env) as m:
        path = m.mnt / "bench/vm/latest/disks/os.img"
        with open(path, "rb"):
            before = trace.stat().st_size
            b.meter("random", path, count, 7)
    frames, pages = [], []
    for path, off in disk_reads(trace, before):
        (frames if "/s/" in path else pages).append((path, off))
    remove(trace)
    b.line("reads of frames a read", f"{len(frames) / count:.2f}", "", None,
           "at most 1", 0 < len(frames) <= count)
    again = len(pages) - len(set(pages))
    b.line("reads of leaves and frame tables", f"{len(pages) / count:.2f}",
           f"of them again: {again}", None, "at most 2, each once",
           0 < len(pages) <= 2 * count and not again)


# --- encrypted volumes

BOOT = bytearray(512)
BOOT[:11] = b"\xeb\x52\x90NTFS    "
BOOT[11:14] = b"\0\2\x08"
BOOT[510:] = b"\x55\xaa"


def encrypted(b, kind):
    """The image as a volume of this kind, and in a vault of its own: paths of both and
    of the key."""
    image, key, vault = (b.ram / f"{kind}.{x}" for x in ("img", "key", "vault"))
    shutil.copyfile(b.image(), image)
    if kind.startswith("800"):
        # As much of NTFS as libbde looks at: its size.
        boot = bytearray(BOOT)
        boot[40:48] = (b.size // 512 - 1).to_bytes(8, "little")
        with open(image, "r+b") as f:
            f.write(boot)
        b.run(BUILD / "tests/tools/mkbitlocker", "-m", kind, "-k", key, image)
    else:
        luks(b, image, key)
    os.chmod(key, 0o600)
    b.vaultctl("init", vault, "--name", "bench")
    b.vaultctl("backup", vault, "vm", "--disk", f"os={image}")
    return image, key, vault


def luks(b, image, key):
    """In place: the first MiB becomes the header."""
    volume_key = b.ram / "volume.key"
    volume_key.write_bytes(random.Random(1).randbytes(64))
    key.write_bytes(b"a passphrase")
    b.run("cryptsetup", "luksFormat", "-q", "--type", "luks2", "--cipher",
          "aes-xts-plain64", "--key-size", "512", "--volume-key-file", volume_key,
          "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--sector-size",
          "512", "--offset", "2048", "--luks2-metadata-size", "16k",
          "--luks2-keyslots-size", "256k", "--key-file", key, image)
    b.run(BUILD / "tests/tools/encrypt", "-o", "1M", volume_key, image)


def volume_row(b, kind, targets):
    image, key, vault = encrypted(b, kind)

    def ours():
        m = Mount([BUILD / "vaultfs", "-f", "-B", key, vault, b.ram / "mnt"],
                  b.ram / "mnt", b.env)
        with m:
            return b.meter("read", m.mnt / "bench/vm/latest/volumes/os.img")[0]

    def plain():
        m, path = b.mount()
        with m:
            return b.meter("read", path)[0]

    def peer(argv, name):
        def run():
            if not shutil.which(argv[0]):
                raise Skipped(f"{argv[0]} is not installed")
            mnt = b.ram / "pmnt"
            mnt.mkdir(exist_ok=True)
            b.run(*argv, mnt)
            try:
                return b.meter("read", mnt / name)[0]
            finally:
                subprocess.run(["fusermount3", "-u", mnt], check=False,
                               capture_output=True)
        return run

    def ceiling():
        cipher = {"8004": "xts-128", "8000": "elephant"}.get(kind, "xts-256")
        m = Mount([BUILD / "tests/bench/mount_fake", "-s", str(b.size), "-d", cipher,
                   b.ram / "fmnt"], b.ram / "fmnt", b.env)
        with m:
            return b.meter("read", m.mnt / "fake/memory/latest/disks/os.img")[0]

    peers = [Peer("the same unencrypted", plain, targets.get("plain"), 300),
             Peer("the ceiling: SHA-256, cipher and FUSE from memory", ceiling, None, 300)]
    if kind.startswith("800"):
        peers.append(Peer("dislocker on the image",
                          peer(["dislocker-fuse", "-V", image, "-f", key, "--"],
                               "dislocker-file"), targets.get("dislocker"), b.peer_seconds))
        if kind != "8005":  # which it does not read
            peers.append(Peer("bdemount on the image",
                              peer(["bdemount", "-s", key, image], "bde1"),
                              targets.get("bdemount"), b.peer_seconds))
    try:
        values, limits = b.turns(ours, peers)
    finally:
        remove(image, key, vault)
    b.against_hash("1 MiB reads through the mount", values, limits)
    for p in peers:
        b.against_peer("1 MiB reads through the mount", values, p)


@row("BitLocker XTS-128, decrypted in the mount")
def bitlocker_128(b):
    volume_row(b, "8004", {"plain": 0.65, "dislocker": 1.7, "bdemount": 5})


@row("BitLocker XTS-256, decrypted in the mount")
def bitlocker_256(b):
    volume_row(b, "8005", {"plain": 0.65, "dislocker": 1.7})


@row("BitLocker CBC and diffuser, decrypted in the mount")
def bitlocker_elephant(b):
    volume_row(b, "8000", {"dislocker": 1, "bdemount": 1})


@row("LUKS aes-xts, decrypted in the mount")
def luks_xts(b):
    volume_row(b, "luks", {"plain": 0.65})


def timed_backup(b, above, sync):
    """A first backup into a new vault; bytes of image a second."""
    path = above / "new-vault"
    remove(path)
    b.image()
    b.vaultctl("init", path, "--name", "new")
    if sync:
        b.run("sync", "-f", above)
    start = time.monotonic()
    b.vaultctl("backup", path, "vm", "--disk", f"os={b.image()}")
    if sync:
        b.run("sync", "-f", above)
    took = time.monotonic() - start
    remove(path)
    return b.size / took


@row("first backup")
def first_backup(b):
    def peer_run(init, work):
        def run():
            path = b.ram / "peer"
            remove(path)
            try:
                if init:
                    b.run(*init(path))
                took, _ = b.run(*work(path), cwd=b.ram, limit=90)
            finally:
                remove(path)
            return b.size / took
        return run

    name = b.image().name
    peers = [
        Peer("restic", peer_run(
            lambda p: ("restic", "-r", p, "init", "--repository-version", "2"),
            lambda p: ("restic", "-r", p, "backup", "--compression", "off",
                       "--pack-size", "64", name)), 1, b.peer_seconds),
        Peer("borg", peer_run(
            lambda p: ("borg", "init", "-e", "none", p),
            lambda p: ("borg", "create", "--compression", "none", "--chunker-params",
                       "fixed,4194304", f"{p}::a", name)), 1, b.peer_seconds),
        Peer("casync", peer_run(
            lambda p: ("mkdir", p),
            lambda p: ("casync", "make", "--what=blob-index", "--compression=zstd",
                       f"--store={p}/store.castr", f"{p}/image.caibx", name)),
             None, b.peer_seconds / 3),
    ]
    values, limits = b.turns(lambda: timed_backup(b, b.ram, False), peers)
    b.against_hash("incompressible", values, limits, 0.6)
    for p in peers:
        b.against_peer("the same", values, p)


def copied(b, above, source, sync):
    """cp, and sync -f where the disk is what is measured; bytes a second."""
    to = above / "copy"
    remove(to)
    if sync:
        b.run("sync", "-f", above)
    start = time.monotonic()
    b.run("cp", "--sparse=never", source, to)
    if sync:
        b.run("sync", "-f", above)
    took = time.monotonic() - start
    remove(to)
    return b.size / took


@row("first backup, on disk")
def first_backup_disk(b):
    peer = Peer("cp, sync -f", lambda: copied(b, b.disk, b.image(), True), None, 200)
    values, limits = b.turns(lambda: timed_backup(b, b.disk, True), [peer])
    b.against_peer("sync -f included", values, peer)
    b.against_hash("sync -f included", values, limits)


def timed_restore(b, vault, above, sync):
    to = above / "restored"
    remove(to)
    if sync:
        b.run("sync", "-f", above)
    start = time.monotonic()
    b.vaultctl("restore", vault, "vm", "latest", "--disk", "os", "--to", to)
    if sync:
        b.run("sync", "-f", above)
    took = time.monotonic() - start
    if to.stat().st_size != b.size:
        raise Failed("what was restored has another size")
    remove(to)
    return b.size / took


@row("restore to a file")
def restore(b):
    peer = Peer("cp", lambda: copied(b, b.ram, b.image(), False), None, 200)
    vault = b.vault()
    values, limits = b.turns(lambda: timed_restore(b, vault, b.ram, False), [peer])
    b.against_hash("in memory", values, limits, 0.75)
    b.against_peer("in memory", values, peer)
    to = b.ram / "check"
    b.vaultctl("restore", vault, "vm", "latest", "--disk", "os", "--to", to)
    b.run("cmp", to, b.image())
    remove(to)


@row("restore to a file, on disk")
def restore_disk(b):
    peer = Peer("cp, sync -f", lambda: copied(b, b.disk, b.image(), True), None, 200)
    vault = b.disk / "vault"
    shutil.copytree(b.vault(), vault)
    values, limits = b.turns(lambda: timed_restore(b, vault, b.disk, True), [peer])
    remove(vault)
    b.against_peer("sync -f included", values, peer)
    b.against_hash("sync -f included", values, limits)


# --- incremental ---

def runs_of(size, amount, rng):
    """Clustered: runs of 4 KiB pages, 64 KiB to 2 MiB long, apart from each other."""
    got, taken = [], 0
    slots = rng.sample(range(size // (4 * MIB)), size // (4 * MIB))
    while taken < amount:
        n = min(rng.randrange(FRAME, 2 * MIB + 1, PAGE), amount - taken)
        off = slots.pop() * 4 * MIB + rng.randrange(0, 2 * MIB, PAGE)
        got.append((off, n))
        taken += n
    return sorted(got)


def pages_of(size, amount, rng):
    """Uniform: single pages anywhere."""
    return sorted((p * PAGE, PAGE) for p in rng.sample(range(size // PAGE), amount // PAGE))


def scribble(path, extents, rng):
    with open(path, "r+b", buffering=0) as f:
        for off, n in extents:
            f.seek(off)
            f.write(rng.randbytes(n))


def frames_of(extents):
    touched = set()
    for off, n in extents:
        touched.update(range(off // FRAME, (off + n - 1) // FRAME + 1))
    return len(touched)


class Big:
    """The large image, and a vault that has it; the image in memory if it fits."""

    def __init__(self, b):
        b.drop("vault", "restic", "image")
        spare = 3 * GIB
        room = min(available(), free_in("/dev/shm"))
        self.image = (b.ram if room > b.big + spare else b.disk) / "big-image"
        self.vault = (b.ram if room > 2 * b.big + spare else b.disk) / "big-vault"
        self.where = ("in memory" if self.image.is_relative_to(b.ram) else "on disk",
                      "in memory" if self.vault.is_relative_to(b.ram) else "on disk")
        b.meter("fill", self.image, b.big, 2)
        b.vaultctl("init", self.vault, "--name", "big")
        b.vaultctl("backup", self.vault, "vm", "--disk", f"os={self.image}")
        self.rng = random.Random(3)


def big(b):
    return b.once("big", lambda: Big(b))


@row("incremental, without --changed")
def incremental_whole(b):
    g = big(b)

    def ours():
        scribble(g.image, runs_of(b.big, b.changed, g.rng), g.rng)
        took, _ = b.vaultctl("backup", g.vault, "vm", "--disk", f"os={g.image}")
        return b.big / took

    values, limits = b.turns(ours)
    b.against_hash(f"image {g.where[0]}, vault {g.where[1]}", values, limits, 0.9)


def read_of_image(trace, image):
    """Bytes that the traced calls read of it."""
    total = 0
    with open(trace, encoding="utf-8", errors="replace") as f:
        for text in f:
            found = re.search(r"(?:\)|resumed>.*\)) = (\d+)$", text)
            if found:
                total += int(found[1])
    return total


@row("incremental, with --changed")
def incremental_changed(b):
    g = big(b)
    for name, make in (("clustered runs", runs_of), ("uniform 4 KiB", pages_of)):
        extents = make(b.big, b.changed, g.rng)
        scribble(g.image, extents, g.rng)
        listing = b.ram / "extents"
        listing.write_text("".join(f"{off} {n}\n" for off, n in extents), encoding="ascii")
        least = frames_of(extents) * FRAME
        before = tree_size(g.vault)
        trace = b.ram / "trace"
        argv = [BUILD / "vaultctl", "backup", g.vault, "vm", "--disk", f"os={g.image}",
                "--base", "latest", "--changed", f"os={listing}", "--json"]
        strace = []
        if shutil.which("strace"):
            strace = ["strace", "-f", "-qq", "--seccomp-bpf",
                      "-e", "trace=pread64,preadv,preadv2,read",
                      "-P", g.image, "-o", trace]
        took, out = b.run(*strace, *argv, limit=300)
        said = json.loads(out)["readBytes"]
        got = read_of_image(trace, g.image) if strace else said
        wrote = tree_size(g.vault) - before
        remove(trace, listing)
        how = "" if strace else " (as it says)"
        say(f"  {b.row}: {name}: {took:.1f} s, said {said} read, read {got}, "
            f"wrote {wrote}, least {least}")
        for what, value in ((f"{name}: read{how}", got), (f"{name}: written", wrote)):
            ratio = value / least
            b.line(what, f"{value / MIB:.1f} MiB", f"frame grid: {least / MIB:.1f} MiB",
                   ratio, "under 1.3", ratio < 1.3, bytes=value, least=least)
    # What was built from the list of changes is the image as it is.
    b.run("sh", "-c", '"$1" restore -q "$2" vm latest --disk os --to - | cmp - "$3"', "sh",
          BUILD / "vaultctl", g.vault, g.image, limit=300)


@row("open a point of a full 32 TiB disk")
def open_huge(b):
    env = dict(b.env, TMPDIR=str(b.ram))
    _, out = b.run(BUILD / "tests/unit/test_budget", env=env)
    worst = {}
    for text in out.splitlines():
        found = re.match(r"(open|first 4 KiB of) (?:\S*\d{4}-\S+|latest): (\d+) requests of (\d+), "
                         r"(\d+) bytes of (\d+)", text)
        if found:
            n = [int(x) for x in found.groups()[1:]]
            worst[found[1]] = max(worst.get(found[1], n), n, key=lambda x: (x[0], x[2]))
        found = re.match(r"peak memory: (\d+) KiB of (\d+)", text)
        if found:
            worst["memory"] = [int(x) for x in found.groups()]
    for key, what in (("open", "open it"), ("first 4 KiB of", "first 4 KiB, more")):
        n, most, size, room = worst[key]
        b.line(what, f"{n} requests, {size / 1024:.0f} KiB", "", None,
               f"at most {most}, {room // 1024} KiB", n <= most and size <= room)
    used, room = worst["memory"]
    b.line("memory, with 10,000 random reads", f"{used / 1024:.0f} MiB", "", None,
           f"under {room // 1024} MiB", used <= room)


# --- the table ---

def table(b):
    head = ("row", "ours", "limit or peer", "ratio", "target", "")
    cells = [head]
    last = None
    for x in b.lines:
        name = x["row"] if x["row"] != last else ""
        last = x["row"]
        if name:
            cells.append((name, "", "", "", "", ""))
        verdict = {True: "ok", False: "SHORT", None: ""}[x["ok"]]
        if x.get("skipped"):
            verdict = f"skipped: {x['skipped']}"
        cells.append(("  " + x["what"], x["ours"], x["peer"],
                      "" if x["ratio"] is None else f"{x['ratio']:.2f}",
                      x["target"], verdict))
    wide = [max(len(c[i]) for c in cells) for i in range(len(head))]
    print()
    for c in cells:
        print("  ".join(t.ljust(w) for t, w in zip(c, wide)).rstrip())


def version(*argv):
    try:
        out = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)
        return (out.stdout or out.stderr).strip().splitlines()[0]
    except (OSError, IndexError, subprocess.TimeoutExpired):
        return None


def machine():
    model = ""
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {
        "cpu": model, "cores": len(os.sched_getaffinity(0)), "kernel": platform.release(),
        "openssl": version("openssl", "version"), "restic": version("restic", "version"),
        "borg": version("borg", "--version"), "casync": version("casync", "--version"),
    }


def one_row(b, name, f):
    b.row = name
    say(f"{name} ({time.monotonic() - b.start:.0f} s)")
    try:
        f(b)
    except Skipped as e:
        b.line("", "", skipped=str(e))
    except (Failed, OSError, KeyError, ValueError) as e:
        b.errors += 1
        b.line("", "", skipped=f"FAILED: {type(e).__name__}: {e}")


def arguments(doc, quick):
    """The parser of what the benches share."""
    parser = argparse.ArgumentParser(description=doc.split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--json", metavar="FILE", help="also write it all there")
    parser.add_argument("--list", action="store_true", help="only list the rows")
    parser.add_argument("words", nargs="*", metavar="WORD")
    return parser


def run_rows(args, rows, make, more, about_text):
    """Runs the rows that were asked for, in a bench by make(args), and prints and writes
    what came out. more(b): what else --json tells; about_text(b): of what size it was."""
    rows = [r for r in rows if not args.words or any(w in r[0] for w in args.words)]
    if args.list:
        print(*(name for name, _ in rows), sep="\n")
        return 0
    # So that what was begun is ended, and mounts are undone.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    load = os.getloadavg()[0]
    if load > 0.5:
        say(f"others are at work on this machine (load {load:.1f}): figures will be noisy")
    b = make(args)
    with b.stack:
        try:
            for name, f in rows:
                one_row(b, name, f)
        except (KeyboardInterrupt, SystemExit) as e:
            b.errors += 1
            say(f"stopped ({type(e).__name__}); so far:")
        about = dict(machine(), loadBefore=load, quick=args.quick, imageBytes=b.size,
                     seconds=time.monotonic() - b.start, **more(b))
        table(b)
        print(f"\n{about['cpu']}, {about['cores']} cores, Linux {about['kernel']}; "
              f"{about_text(b)}, medians of {b.runs}; load before {load:.1f}; "
              f"{about['seconds']:.0f} s")
        if args.json:
            with open(args.json, "w", encoding="utf-8") as f:
                json.dump({"about": about, "lines": b.lines}, f, indent=1)
                f.write("\n")
    return 1 if b.errors else 0


def main():
    return run_rows(arguments(__doc__, "smaller images, 3 runs").parse_args(), ROWS, Bench,
                    lambda b: {},
                    lambda b: f"image of {b.size // MIB} MiB (incremental: {b.big // MIB})")


if __name__ == "__main__":
    sys.exit(main())
