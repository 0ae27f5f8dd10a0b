#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""An independent reader of vaultfs vaults, written from backend/vault/FORMAT.md alone.

reader.py VAULTDIR list [VM]
reader.py VAULTDIR show VM POINT                 (JSON: the point, its labels and escrow)
reader.py VAULTDIR cat VM POINT DISK [OFF LEN]
reader.py VAULTDIR sha256 VM POINT DISK
reader.py VAULTDIR check [--owner HEX] [VM]
POINT is an id or "latest". Exit status: 0, 1 (one sentence on stderr), 2 (usage)."""
import collections, datetime, hashlib, json, mmap, os, re, struct, sys
import zstandard
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FRAME, MAXOBJ, Z16, Z32, ZEROS = 65536, 64 << 20, bytes(16), bytes(32), bytes(1 << 20)
RAW, INDEX, POINT, ESCROW = 1, 2, 4, 8
BACKUP, PRUNE, SWEEP, SWEPT, RELOCATE, CONFIG = range(1, 7)
GEN = '[0-9a-f]{16}[.][0-9a-f]{16}'
Place = collections.namedtuple('Place', 'gen flags n off len')
Row = collections.namedtuple('Row', 'time id digest rlen olen cons tier flags disks expiry')
PageRow = collections.namedtuple('PageRow', 'first last rows len seq off digest')
Seg = collections.namedtuple('Seg', 'entries end')


class Bad(Exception):
    pass


def need(ok, text, *args):
    if not ok:
        raise Bad(text % args if args else text)


def sha(*parts):
    h = hashlib.sha256()
    for p in parts:
        h.update(p)
    return h.digest()


def crc_table():
    for c in range(256):
        for _ in range(8):
            c = (c >> 1) ^ (0x82F63B78 if c & 1 else 0)
        yield c


CRC = list(crc_table())


def crc32c(data):
    c, t = 0xFFFFFFFF, CRC
    for b in data:
        c = t[(c ^ b) & 255] ^ (c >> 8)
    return c ^ 0xFFFFFFFF


def hex16(n): return '%016x' % n
def inv(n): return hex16((1 << 64) - 1 - n)
def genstr(g): return hex16(g[0]) + '.' + hex16(g[1])


def ungen(s):
    need(re.fullmatch(GEN, s), '%r is not a generation', s)
    return int(s[:16], 16), int(s[17:], 16)


def enc(b):
    return ''.join(chr(c) if re.match(rb'[A-Za-z0-9._-]', bytes([c])) and (i or c != 46) else '%%%02X' % c
                   for i, c in enumerate(b))


def dec(s): return re.sub(rb'%([0-9A-F]{2})', lambda m: bytes([int(m[1], 16)]), os.fsencode(s))
def good_key(s): return enc(dec(s)) == s and good_name(dec(s))


def good_name(b):
    try:
        b.decode()
    except UnicodeDecodeError:
        return False
    return (1 <= len(b) <= 200 and len(enc(b)) <= 200 and b not in (b'.', b'..')
            and not any(c < 32 or c in (0x7f, 0x2f) for c in b))


def iso(ns):
    s, f = divmod(ns, 10**9)
    t = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=s)
    return t.isoformat(timespec='seconds') + ('.%09d' % f if f else '') + 'Z'


class Cur:
    """A record (or a part of an object) that is read from front to end."""
    def __init__(self, b, what, pos=0): self.b, self.what, self.p = b, what, pos

    def raw(self, n):
        need(self.p + n <= len(self.b), '%s is shorter than its own counts say', self.what)
        self.p += n
        return self.b[self.p - n:self.p]

    def u(self, n): return int.from_bytes(self.raw(n), 'little')
    def i64(self): return int.from_bytes(self.raw(8), 'little', signed=True)
    def gen(self): return self.u(8), self.u(8)
    def zero(self, n): need(not any(self.raw(n)), '%s: a zero field is not zero', self.what)
    def end(self): need(self.p == len(self.b), '%s is longer than its own counts say', self.what)

    def name(self, empty=False):
        n, b = self.u(2), self.raw(200)
        self.zero(2)
        need(n <= 200 and not any(b[n:]), '%s: a name is not padded with zeros', self.what)
        need(good_name(b[:n]) or (empty and not n), '%s holds a name that is not allowed', self.what)
        return b[:n]

    def rows(self, g):
        r = [self.gen() for _ in range(g)]
        need(len(set(r)) == g, '%s names a generation twice in its row table', self.what)
        return r

    def place(self, rows, kinds):
        """kinds: the flags that are allowed; None for the place "none"."""
        p = self.raw(16)
        if p == Z16:
            return None
        n, off, ln, row, flags = struct.unpack('<IIIHH', p)
        need(flags in kinds, '%s: a place has flags %#x', self.what, flags)
        need(ln and row < len(rows), '%s: a place has no length or a row beyond the table', self.what)
        need(off + ln <= MAXOBJ and not (flags & POINT and n), '%s: a place is out of bounds', self.what)
        return Place(rows[row], flags, n, off, ln)

    def entries(self, n, rows, kinds):
        """48-byte entries: id or digest, place; both zero or none."""
        r = []
        for _ in range(n):
            i, p = self.raw(32), self.place(rows, kinds)
            need((i == Z32) == (p is None), '%s: an entry has only one of digest and place', self.what)
            r.append((i, p))
        need(any(p for _, p in r), '%s is stored though all its children are zero', self.what)
        return r


def record(data, magic, what):
    data = bytes(data)
    need(len(data) >= 16, '%s is too short for a record', what)
    m, version, suite, flags, ln, crc = struct.unpack_from('<4sHBBII', data)
    need(m == magic, '%s has magic %r, not %r', what, m, magic)
    need(version == 1, '%s has version %d', what, version)
    need(suite == 0, '%s has suite %d, which this reader does not know', what, suite)
    need(flags == 0, '%s has record flags %#x', what, flags)
    need(ln == len(data), '%s has length %d, not %d', what, ln, len(data))
    need(crc32c(data[:12] + bytes(4) + data[16:]) == crc, '%s has a wrong CRC', what)
    return Cur(data, what, 16)


def signed(cur, tag, key):
    sig = cur.raw(64)
    cur.end()
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(sig, tag + cur.b[:12] + bytes(4) + cur.b[16:-64])
    except (InvalidSignature, ValueError):
        raise Bad('%s has a wrong signature' % cur.what)


def unzstd(data, ln):
    need(data[:4] == b'\x28\xb5\x2f\xfd', 'a stored frame is not a zstd frame')
    try:
        p, d = zstandard.get_frame_parameters(data), zstandard.ZstdDecompressor()
        need(p.content_size in (ln, zstandard.CONTENTSIZE_UNKNOWN) and not p.dict_id
             and p.window_size <= 128 << 10, 'a zstd frame has a wrong header')
        need(len(d.stream_reader(data).read(ln + 1)) == ln, 'a zstd frame has not the length of its frame')
        o = d.decompressobj()
        out = o.decompress(data)
        need(o.eof and not o.unused_data and len(out) == ln, 'a zstd frame is cut or something follows it')
        return out
    except zstandard.ZstdError as e:
        raise Bad('a zstd frame cannot be read: %s' % e)


class Store:
    def __init__(self, root):
        self.root, self.maps = root, collections.OrderedDict()
        need(os.path.isfile(os.path.join(root, 'vault.hdr')), '%s holds no vault.hdr', root)

    def get(self, key):
        """The object's bytes, or None."""
        if key not in self.maps:
            try:
                with open(os.path.join(self.root, key), 'rb') as f:
                    size = os.fstat(f.fileno()).st_size
                    need(size <= MAXOBJ, '%s is over 64 MiB', key)
                    self.maps[key] = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) if size else b''
            except (FileNotFoundError, NotADirectoryError):
                return None
            if len(self.maps) > 200:
                self.maps.popitem(last=False)
        return self.maps[key]

    def must(self, key):
        o = self.get(key)
        need(o is not None, '%s is not there', key)
        return o

    def list(self, prefix, form=None):
        """Names; only those of this form: a key that the format does not have is ignored."""
        try:
            return sorted(x for x in os.listdir(os.path.join(self.root, prefix)) if not form or re.fullmatch(form, x))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def names(self, prefix):
        """(key part, name) of the folders that are names."""
        return [(x, dec(x)) for x in self.list(prefix) if good_key(x)]


def seqs(store, prefix):
    """The numbers of a chained series h/<~n>, c/<~seq>; they must be 1, 2, ..."""
    n = [int(inv(int(x, 16)), 16) for x in reversed(store.list(prefix, '[0-9a-f]{16}'))]
    need(n == list(range(1, len(n) + 1)), '%s/ does not hold 1, 2, ... without a gap', prefix)
    return n


class Vault:
    def __init__(self, root, owner=None):
        self.store = st = Store(root)
        c = record(st.must('vault.hdr'), b'VFhd', 'vault.hdr')
        self.id, self.owner, self.created = c.raw(16), c.raw(32), c.i64()
        c.zero(56)
        c.end()
        need(owner is None or owner == self.owner, 'the vault has another owner key than the pinned one')
        self.digests, self.keys, prev = {}, {}, Z32
        for n in seqs(st, 'h'):
            prev = self.config(n, st.must('h/' + inv(n)), prev)
        need(self.digests, 'the vault has no config')

    def config(self, n, obj, prev):
        c = record(obj, b'VFcf', 'config %d' % n)
        need(c.raw(16) == self.id and c.u(8) == n, '%s is of another vault or number', c.what)
        need(c.raw(32) == prev, '%s does not follow the one before it', c.what)
        c.i64()
        need(c.u(8) == 0, '%s: an incompatible feature is on that this reader does not know', c.what)
        c.raw(16)
        F, K, H, S, P = c.u(2), c.u(2), c.u(4), c.u(4), c.u(4)
        need(not S and not P, '%s has key slots or policies', c.what)
        self.name = c.name()
        need(c.raw(32) == self.owner, '%s names another owner', c.what)
        c.zero(4)
        for _ in range(F):
            cls, bit, text = c.u(1), c.u(1), c.raw(46)
            need(cls <= 2 and bit < 64 and re.fullmatch(rb'[ -~]+\0*', text), '%s has a bad feature name', c.what)
        keys = []
        for _ in range(K):
            k = (c.raw(32), c.u(8), c.u(8), c.u(4), c.u(4))
            c.zero(16)
            label = c.raw(64).rstrip(b'\0')
            need(b'\0' not in label, '%s: a label is not padded with zeros', c.what)
            label.decode()
            need(1 <= k[1] <= n and k[2] <= n and k[3] + k[4] <= H and (k[2] or k[3:] == (0, 0)),
                 '%s: a writer key is out of bounds', c.what)
            keys.append(k)
        heads = [(c.raw(32), c.u(8)) for _ in range(H)]
        signed(c, b'vaultfs:config:1', self.owner)
        self.n, self.digests[n], old = n, sha(obj), self.keys
        self.keys = {k[0]: (k[1], k[2], dict(heads[k[3]:k[3] + k[4]])) for k in keys}
        need(len(self.keys) == K, '%s has a writer key twice', c.what)
        need(all(len(self.keys[k[0]][2]) == k[4] for k in keys), '%s has a VM twice in the heads of a key', c.what)
        for k, (added, retired, h) in old.items():
            new = self.keys.get(k, (0, 0, {}))
            need(new[:2] == (added, retired or new[1]) and all(new[2].get(vm, 0) >= seq for vm, seq in h.items()),
                 '%s lost or changed a writer key', c.what)
        return self.digests[n]

    def key_counts(self, what, key, vm, seq, n):
        need(key in self.keys, '%s is by a writer that the vault does not know', what)
        added, retired, heads = self.keys[key]
        need(added <= n <= self.n, '%s is under config %d, its key was added at %d', what, n, added)
        need(not retired or seq <= heads.get(sha(vm), 0), '%s is by a key that was retired before', what)

    def vms(self):
        return [n for x, n in self.store.names('V') if self.store.list('V/%s/c' % x, '[0-9a-f]{16}')]


class Commit:
    """One commit, checked as far as it can be on its own."""
    def __init__(self, vault, vm, seq):
        self.obj = obj = vault.store.must('V/%s/c/%s' % (enc(vm), inv(seq)))
        self.what = what = 'commit %d of %s' % (seq, enc(vm))
        c = record(obj, b'VFcm', what)
        need(c.raw(16) == vault.id and c.u(8) == seq, '%s is of another vault or seq', what)
        self.seq, self.prev, self.config = seq, c.raw(32), c.u(8)
        n = self.config
        need(c.raw(32) == vault.digests.get(n), '%s is under config %d, which is not the one there', what, n)
        self.kind = c.u(2)
        c.zero(2)
        blen, self.time, self.gen = c.u(4), c.i64(), c.gen()
        need(1 <= self.gen[0] <= seq, '%s is of a session of a later seq', what)
        need(c.name() == vm, '%s names another VM', what)
        key = c.raw(32)
        c.zero(4)
        self.relocate, self.sweep, points, pages, rlen = c.u(8), c.u(8), c.u(8), c.u(4), c.u(4)
        self.table = [PageRow(c.i64(), c.i64(), c.u(4), c.u(4), c.u(8), c.u(4), (c.zero(4), c.raw(32))[1])
                      for _ in range(pages)]
        self.parse_body(Cur(c.raw(blen), 'the body of ' + what))
        last = None
        for r in self.table:
            need(1 <= r.rows <= 256 and r.len == 24 + 80 * r.rows and r.first <= r.last
                 and (last is None or r.first > last) and 1 <= r.seq <= seq, '%s has a bad page table', what)
            last = r.last
        need(not self.table or self.table[-1].seq == seq, '%s does not hold the last page itself', what)
        need(points == sum(r.rows for r in self.table), '%s has a wrong count of points', what)
        for off, ln in [(r.off, r.len) for r in self.table if r.seq == seq]:
            need(off == c.p, '%s: its inline pages have gaps', what)
            c.raw(ln)
        self.newest = c.raw(rlen)
        signed(c, b'vaultfs:commit:1', key)
        vault.key_counts(what, key, vm, seq, n)
        self.digest, self.rows = sha(obj), []
        for r in self.table:
            o = obj if r.seq == seq else vault.store.must('V/%s/c/%s' % (enc(vm), inv(r.seq)))
            self.rows += index_page(bytes(o[r.off:r.off + r.len]), r, what)
        need((rlen > 0) == bool(self.rows), '%s: the newest point record is missing or too much', what)
        if self.rows:
            r = self.rows[-1]
            need(rlen == r.rlen and sha(self.newest) == r.digest, '%s: its newest point record is another', what)
            Point(vault, vm, self.newest, r)

    def parse_body(self, c):
        k = self.kind
        if k == BACKUP:
            self.body = c.gen()
            need(self.body == self.gen, '%s names a point of another session', c.what)
        elif k in (PRUNE, CONFIG):
            n = c.u(4)
            c.zero(4)
            self.body = {}
            for _ in range(n):
                g = c.gen()
                need(g not in self.body, '%s names a point twice', c.what)
                self.body[g] = None if k == PRUNE else (c.u(2), c.zero(6), c.i64())[::2]
            need(n, '%s is empty', c.what)
        elif k in (SWEEP, RELOCATE):
            self.body = [c.raw(32), c.u(4), c.zero(4)][:2] + ([c.u(8)] if k == RELOCATE else [])
        elif k == SWEPT:
            self.body = (c.u(8), c.u(4))
            c.zero(4)
            need(1 <= self.body[0] < self.seq and self.body[1] in (1, 2), '%s is out of bounds', c.what)
        else:
            raise Bad('%s is of kind %d' % (c.what, k))
        c.end()


PAGES = {}


def index_page(data, r, what):
    need(sha(data) == r.digest, '%s: an index page has not its digest', what)
    if r.digest not in PAGES:
        c = record(data, b'VFix', 'an index page of ' + what)
        n = c.u(4)
        c.zero(4)
        rows = []
        for _ in range(n):
            rows.append(Row(c.i64(), c.gen(), c.raw(32), c.u(4), c.u(4), c.u(1), c.u(1), c.u(2), c.u(2),
                            (c.zero(2), c.i64())[1]))
            x = rows[-1]
            need(1 <= x.cons <= 3 and x.tier == 0 and x.flags < 4 and 1 <= x.disks <= 64
                 and 384 < x.rlen <= x.olen <= MAXOBJ, '%s has a bad row', c.what)
        c.end()
        need(all(a.time < b.time for a, b in zip(rows, rows[1:])), '%s does not ascend', c.what)
        PAGES[r.digest] = rows
    rows = PAGES[r.digest]
    need(len(rows) == r.rows and (rows[0].time, rows[-1].time) == (r.first, r.last),
         '%s: an index page is not what the page table says', what)
    return rows


class Disk:
    def __init__(self, c, rows, own):
        self.name, self.log2, self.level, self.flags = c.name(), c.u(1), c.u(1), c.u(2)
        self.size, self.root, self.place = c.u(8), c.raw(32), c.place(rows, (POINT,))
        self.dead, self.deadplace = c.raw(32), c.place(rows, (INDEX,))
        self.deadbytes, self.nonzero, self.stored, self.read = c.u(8), c.u(8), c.u(8), c.u(8)
        c.zero(56)
        need(18 <= self.log2 <= 22 and self.flags < 4 and 1 <= self.size <= 1 << 56, '%s has a bad disk', c.what)
        need((self.root == Z32) == (self.place is None) and (self.dead == Z32) == (self.deadplace is None),
             '%s: a disk has an id without a place or the other way', c.what)
        need(not self.place or self.place.gen == own, '%s: a root lies in another point object', c.what)
        self.frames, self.cf = -(-self.size // FRAME), 1 << self.log2 - 16
        n, level = -(-(-(-self.frames // self.cf)) // 256), 0
        while n > 1:
            n, level = -(-n // 1024), level + 1
        need(self.level == level, '%s: a disk has a root of level %d, not %d', c.what, self.level, level)

    def span(self, level): return self.cf * (256 << 10 * level) if level >= 0 else self.cf if level == -1 else 1
    def flen(self, f): return min(FRAME, self.size - f * FRAME)


class Point:
    def __init__(self, vault, vm, data, row):
        self.row, self.id, self.time = row, row.id, row.time
        self.what = what = 'point %s of %s' % (genstr(row.id), enc(vm))
        need(sha(data) == row.digest, '%s has not the digest that the index gives', what)
        c = record(data, b'VFpr', what)
        need(c.raw(16) == vault.id and c.gen() == row.id, '%s is of another vault or id', what)
        base = c.gen()
        self.base = None if base == (0, 0) else base
        time, self.written, cons, tier, flags, nd, g = c.i64(), c.i64(), c.u(1), c.u(1), c.u(2), c.u(2), c.u(2)
        need((time, cons, tier, flags, nd) == (row.time, row.cons, row.tier, row.flags & 2, row.disks)
             and base != row.id and nd, '%s is not what its index row says', what)
        adopted = c.u(2)
        c.zero(6)
        need(adopted <= g and c.name() == vm, '%s names another VM or has a bad row count', what)
        c.zero(4)
        self.parts = [(c.u(4), c.u(4), c.raw(32)) for _ in range(2)]
        rows = c.rows(g)
        self.adopted = rows[:adopted]
        self.disks = [Disk(c, rows, row.id) for _ in range(nd)]
        c.end()
        need(bool(flags) == any(d.flags & 1 for d in self.disks), '%s and its disks have other flags', what)
        names = [d.name for d in self.disks]
        need(all(a < b for a, b in zip(names, names[1:])), '%s: its disks do not ascend by name', what)
        end = len(data)
        for (off, ln, dig), limit in zip(self.parts, (65536, 1 << 20)):
            need((off, ln, dig) == (0, 0, Z32) or (off == end and 0 < ln <= limit), '%s has a bad part', what)
            end += ln
        for d in self.disks:
            if d.place:
                need(d.place.off == end, '%s: its root pages have gaps', what)
                end += d.place.len
        need(end == row.olen, '%s has an object of another length than the index says', what)

    def part(self, obj, i):
        off, ln, dig = self.parts[i]
        data = bytes(obj[off:off + ln])
        need(not ln or sha(data) == dig, '%s: labels or escrow have not their digest', self.what)
        return Cur(data, ('the labels of ' if not i else 'the escrow of ') + self.what)

    def labels(self, obj):
        c, r = self.part(obj, 0), []
        while c.p < len(c.b):
            r.append((c.raw(c.u(2)), c.raw(c.u(2))))
        need(all(a[0] < b[0] for a, b in zip([(b'',)] + r, r)), '%s are not sorted, or a key is empty', c.what)
        return {k.decode(): v.decode() for k, v in r}

    def escrow(self, obj):
        c, r = self.part(obj, 1), []
        while c.p < len(c.b):
            disk = c.u(2)
            c.zero(2)
            need(disk == 0xffff or disk < len(self.disks), '%s is of no disk', c.what)
            r.append((None if disk == 0xffff else self.disks[disk].name, json.loads(c.raw(c.u(4)).decode())))
        return r


class VM:
    def __init__(self, vault, name):
        self.vault, self.name, self.store, self.key = vault, name, vault.store, 'V/' + enc(name)
        self.commits = seqs(self.store, self.key + '/c')
        need(self.commits, 'there is no VM %s', enc(name))
        self.head = Commit(vault, name, self.commits[-1])
        self.moves, self.cache, todo, seq = [], {}, [], self.head.relocate
        while seq:
            c = Commit(vault, name, seq)
            need(c.kind == RELOCATE and c.body[2] < seq, '%s is not a relocate', c.what)
            todo.append(c)
            seq = c.body[2]
        for c in reversed(todo):        # the oldest first
            self.moves.append(self.moved(c))

    # --- lists (section 9)
    def list_of(self, c):
        key = '%s/l/%s' % (self.key, genstr(c.gen))
        obj = self.store.must(key)
        need(len(obj) == c.body[1] and sha(obj) == c.body[0], '%s is not the list of %s', key, c.what)
        return self.read_list(obj, key, {SWEEP: 3, RELOCATE: 5}[c.kind])

    def read_list(self, obj, key, want=None):
        c = record(obj, b'VFls', key)
        kind, nd, g = c.u(2), c.u(2), c.u(2)
        c.zero(2)
        n = c.u(4)
        c.zero(4)
        need(kind in (3, 5) and want in (None, kind), '%s is of kind %d', key, kind)
        disks, out = [c.name() for _ in range(nd)], []
        rows = c.rows(g)
        need(len(set(disks)) == nd, '%s names a disk twice', key)
        for _ in range(n):
            if kind == 3:
                d, row, flags = c.u(2), c.u(2), c.u(2)
                c.zero(2)
                no = c.u(4)
                c.zero(4)
                need(flags in (0, INDEX, POINT, ESCROW) and row < g, '%s has a bad claim', key)
                if flags in (POINT, ESCROW):
                    need(d == 0xffff and no == 0, '%s claims a point of a disk', key)
                    out.append('/%s/%s' % ('p' if flags == POINT else 'e', genstr(rows[row])))
                else:
                    need(d < nd, '%s claims an object of no disk', key)
                    out.append(self.okey(disks[d], rows[row], flags, no))
            else:
                d = c.u(2)
                c.zero(6)
                a, b = c.place(rows, (0, INDEX)), c.place(rows, (0, INDEX))
                need(d < nd and a and b and a.flags == b.flags and a.len == b.len, '%s has a bad move', key)
                out.append((disks[d], a, b))
        c.end()
        need(kind == 5 or len(set(out)) == len(out), '%s claims an object twice', key)
        return out

    def moved(self, c):
        m = collections.defaultdict(list)
        for disk, a, b in self.list_of(c):
            m[disk, a.gen, a.flags, a.n].append((a.off, a.off + a.len, b))
        for runs in m.values():
            runs.sort(key=lambda r: r[:2])
            need(all(x[1] <= y[0] for x, y in zip(runs, runs[1:])), '%s moves a run twice', c.what)
        return m

    def candidates(self, disk, p):
        yield p
        for m in self.moves:
            for lo, end, b in m.get((disk, p.gen, p.flags & INDEX, p.n), ()):
                if lo <= p.off and p.off + p.len <= end:
                    p = Place(b.gen, p.flags, b.n, b.off + p.off - lo, p.len)
                    yield p
                    break

    def resolve(self, disk, places):
        """Where runs of bytes lie after all moves: (gen, index, n, off, end)."""
        out = [(p.gen, p.flags & INDEX, p.n, p.off, p.off + p.len) for p in places]
        for m in self.moves:
            src, out = out, []
            for g, i, n, off, end in src:
                for lo, hi, b in m.get((disk, g, i, n), ()):
                    if lo < end and off < hi:
                        if off < lo:
                            out.append((g, i, n, off, lo))
                        x, y = max(off, lo), min(end, hi)
                        out.append((b.gen, i, b.n, b.off + x - lo, b.off + y - lo))
                        off = y
                if off < end:
                    out.append((g, i, n, off, end))
        return out

    # --- objects and the tree (section 6)
    @staticmethod
    def okey(disk, gen, flags, n):
        return '/d/%s/%s/%s/%s' % (enc(disk), genstr(gen), 'm' if flags & INDEX else 's', hex16(n))

    def fetch(self, disk, p, use):
        """use(bytes) of the place, or of where it was moved to; returns also which place it was."""
        err = None
        for q in self.candidates(disk, p):
            key = self.key + ('/p/' + genstr(q.gen) if q.flags & POINT else self.okey(disk, q.gen, q.flags, q.n))
            try:
                o = self.store.must(key)
                need(q.off + q.len <= len(o), 'a place of %d bytes at %d is beyond the end of %s', q.len, q.off, key)
                return use(bytes(o[q.off:q.off + q.len])), q
            except Bad as e:
                err = err or e
        raise Bad('disk %s of %s: %s' % (enc(disk), enc(self.name), err))

    def node(self, d, level, no, nid, place):
        """The entries of a page, or of a frame table (level -1)."""
        step = d.span(level - 1)
        count = -(-(min((no + 1) * d.span(level), d.frames) - no * d.span(level)) // step)
        key = (d.name, level, no, nid, place, count)
        if key in self.cache:
            return self.cache[key]

        def use(data):
            what = 'page %d of level %d' % (no, level) if level >= 0 else 'frame table %d' % no
            c = record(data, b'VFpg' if level >= 0 else b'VFft', what)
            if level >= 0:
                ok = c.u(1) == level
                c.zero(1)
                e, g = c.u(2), c.u(2)
                c.zero(2)
                ok = ok and c.u(8) == no
            else:
                ok, e, g = c.u(8) == no, c.u(2), c.u(2)
                c.zero(4)
            need(ok and e == count, '%s is another one', what)
            r = c.entries(e, c.rows(g), (INDEX,) if level >= 0 else (0, RAW))
            c.end()
            head = b'vaultfs:page:1\0\0' + struct.pack('<I', level) if level >= 0 else b'vaultfs:chunk:1\0'
            need(sha(head, struct.pack('<I', e), *[i for i, _ in r]) == nid, '%s has not its id', what)
            return r
        r, _ = self.fetch(d.name, place, use)
        if len(self.cache) > 20000:
            self.cache.clear()
        self.cache[key] = r
        return r

    def walk(self, d, lo=0, hi=None, note=None):
        """(first frame, count, digest, place) in order; runs of zeros have no digest."""
        hi = d.frames if hi is None else hi

        def down(level, no, nid, place):
            a, b = max(no * d.span(level), lo), min((no + 1) * d.span(level), hi)
            if a >= b:
                return
            if place is None:
                yield a, b - a, None, None
            elif level == -2:
                yield no, 1, nid, place
            else:
                if note:
                    note(level, place)
                first = no * d.span(level) // d.span(level - 1)
                for i, (cid, cp) in enumerate(self.node(d, level, no, nid, place)):
                    yield from down(level - 1, first + i, cid, cp)
        return down(d.level, 0, d.root, d.place)

    def frame(self, d, f, digest, place):
        ln = d.flen(f)

        def use(data):
            need(not place.flags & RAW or len(data) == ln, 'a raw frame has a wrong length')
            out = data if place.flags & RAW else unzstd(data, ln)
            need(sha(out) == digest, 'frame %d has not its digest', f)
            return out
        return self.fetch(d.name, place, use)

    def read(self, d, off=0, ln=None):
        end = d.size if ln is None else min(d.size, off + ln)
        need(off <= d.size, 'the disk ends at %d', d.size)
        for f, n, digest, place in self.walk(d, off // FRAME, -(-end // FRAME)):
            a, b = max(off, f * FRAME), min(end, (f + n) * FRAME)
            if place:
                yield self.frame(d, f, digest, place)[0][a - f * FRAME:b - f * FRAME]
                continue
            while a < b:
                yield ZEROS[:b - a]
                a += min(b - a, 1 << 20)

    # --- points
    def point(self, pid):
        need(self.head.rows, '%s has no point', enc(self.name))
        rows = [r for r in self.head.rows if pid != 'latest' and r.id == ungen(pid)] or \
            self.head.rows[-1:] * (pid == 'latest')
        need(rows, '%s has no point %s', enc(self.name), pid)
        return self.load(rows[0])

    def load(self, row):
        key = '%s/p/%s' % (self.key, genstr(row.id))
        obj = self.store.must(key)
        need(len(obj) == row.olen, '%s is of %d bytes, not %d', key, len(obj), row.olen)
        p = Point(self.vault, self.name, bytes(obj[:row.rlen]), row)
        p.obj = obj
        return p

    def disk(self, p, name):
        ds = [d for d in p.disks if name.encode(errors='surrogateescape') == d.name]
        need(ds, '%s has no disk %s', p.what, name)
        return ds[0]

    def addenda(self):
        """Escrow addenda: point id -> [(disk or None, document)]."""
        out = collections.defaultdict(list)
        for x in self.store.list(self.key + '/e', GEN):
            g, c = ungen(x), record(self.store.must('%s/e/%s' % (self.key, x)), b'VFea', 'escrow addendum ' + x)
            need(c.raw(16) == self.vault.id and c.gen() == g, '%s is of another vault or generation', c.what)
            pid, _, vm, disk, key, n, ln = c.gen(), c.i64(), c.name(), c.name(True), c.raw(32), c.u(8), c.u(4)
            c.zero(4)
            doc = c.raw(ln)
            signed(c, b'vaultfs:escrow:1', key)
            need(vm == self.name, '%s names another VM', c.what)
            self.vault.key_counts(c.what, key, vm, g[0], n)
            out[pid].append((disk or None, json.loads(doc.decode())))
        return out

    # --- check
    def check(self, S):
        prev, old, self.born, intents, rel, sweep, used, relgens = Z32, None, {}, {}, 0, 0, set(), set()
        self.claims = {}
        for seq in self.commits:
            c = Commit(self.vault, self.name, seq)
            need(c.prev == prev, '%s does not follow the one before it', c.what)
            need(not old or old.config <= c.config, '%s is under an older config than the one before it', c.what)
            known = set(old.table) if old else set()
            need(all(r.seq == seq or r in known for r in c.table), '%s: a page comes from nowhere', c.what)
            self.kind_rules(c, {r.id: r for r in old.rows} if old else {}, used)
            if c.kind == BACKUP:
                self.born[c.body] = seq
            if c.kind == SWEEP:
                sweep, intents[seq] = seq, c.gen
                self.claims.update((k, seq) for k in self.list_of(c))
            if c.kind == SWEPT:
                need(intents.get(c.body[0]) not in (None, c.gen), '%s ends no sweep intent', c.what)
            if c.kind == RELOCATE:
                need(c.body[2] == rel, '%s names another relocate before it', c.what)
                self.list_of(c)
                rel = seq
                relgens.add(c.gen)
            need((c.relocate, c.sweep) == (rel, sweep), '%s: newest relocate or intent is another', c.what)
            prev, old = c.digest, c
            S['commits'] += 1
        self.segments(S, relgens)
        pts = {r.id: self.load(r) for r in self.head.rows}
        self.seen, self.trees = {}, {}
        for p in pts.values():
            self.unclaimed(p, ['/p/' + genstr(p.id)])
            S['points'] += 1
            S['labels'] += len(p.labels(p.obj))
            S['escrow'] += len(p.escrow(p.obj))
            for d in p.disks:
                self.trees[p.id, d.name] = self.check_tree(S, p, d)
        for p in pts.values():
            for d in p.disks:
                self.check_dead(S, p, d, pts.get(p.base))
        for pid, docs in self.addenda().items():
            for disk, _ in docs:
                S['addenda' if pid in pts else 'leftover'] += 1
                need(pid not in pts or disk in [None] + [d.name for d in pts[pid].disks],
                     'an escrow addendum of %s is of no disk', genstr(pid))
        self.others(S, pts)

    def kind_rules(self, c, old, used):
        new, want = {r.id: r for r in c.rows}, dict(old)
        need(len(new) == len(c.rows), '%s has a point twice', c.what)
        if c.kind == BACKUP:
            need(c.body in new and c.body not in used, '%s does not add its point, or one that was before', c.what)
            want[c.body] = new[c.body]
            used.add(c.body)
        elif c.kind in (PRUNE, CONFIG):
            need(all(g in old for g in c.body), '%s names a point that is not there', c.what)
            for g, change in c.body.items():
                if change is None:
                    need(not old[g].flags & 1, '%s drops a point that is held', c.what)
                    del want[g]
                else:
                    need((change[0] ^ old[g].flags) in (0, 1), '%s changes more than hold and expiry', c.what)
                    want[g] = old[g]._replace(flags=change[0], expiry=change[1])
        need(new == want, '%s changes what its kind may not', c.what)

    def unclaimed(self, p, keys):
        for k in keys:
            need(self.claims.get(k, 0) <= self.born[p.id], '%s needs %s, which a later sweep claims', p.what, k)

    def check_tree(self, S, p, d):
        places, nonzero, chunks = set(), 0, collections.defaultdict(set)

        def note(level, place):
            if not place.flags & POINT:
                places.add(place)
                if self.seen.setdefault((d.name, place), level) == level:
                    S['nodes'] += 1
        for f, n, digest, place in self.walk(d, note=note):
            if not place:
                S['zero_frames'] += n
                continue
            places.add(place)
            nonzero += d.flen(f)
            chunks[f // d.cf].add(place.gen)
            S['frame_refs'] += 1
            if (d.name, place) not in self.seen:
                data, q = self.frame(d, f, digest, place)
                need(any(data), 'frame %d of disk %s in %s is of zeros but not marked', f, enc(d.name), p.what)
                need(place.flags & RAW or place.len <= len(data) - len(data) // 16, 'frame %d should be raw', f)
                e = self.segs[d.name, q.gen, q.n].entries.get(q.off)
                need(e == (f, digest, q.len, q.flags), 'the trailer of %s does not agree with frame %d',
                     self.okey(d.name, q.gen, 0, q.n), f)
                self.seen[d.name, place] = (f, digest)
                S['frames'] += 1
                S['bytes_stored'] += place.len
            need(self.seen[d.name, place] == (f, digest), 'a stored frame is used as two frames (%s)', p.what)
        need(nonzero == d.nonzero, '%s: disk %s has %d bytes that are not zero, not %d', p.what, enc(d.name),
             nonzero, d.nonzero)
        need(all(len(g) <= 4 for g in chunks.values()), '%s: a chunk of disk %s is in over four generations', p.what,
             enc(d.name))
        gens = [q.gen for q in places]
        S['disks'] += 1
        r = set(self.resolve(d.name, places))
        self.unclaimed(p, {self.okey(d.name, g, i, n) for g, i, n, _, _ in r})
        own = self.sizes.get((d.name, p.id), {})
        if not p.adopted and not any(k.startswith('/d/%s/%s/' % (enc(d.name), genstr(p.id))) for k in self.claims):
            need(sum(own.values()) == d.stored, '%s: disk %s stored %d bytes, not %d', p.what, enc(d.name),
                 sum(own.values()), d.stored)
        need(all(g[0] <= self.born[p.id] for g in gens), '%s uses a session of the future', p.what)
        return r

    @staticmethod
    def merge(runs, what=None):
        out = []
        for r in sorted(runs):
            if out and out[-1][:3] == r[:3] and r[3] <= out[-1][4]:
                need(not what or r[3] == out[-1][4], '%s has a dead run twice', what)
                out[-1] = out[-1][:4] + (max(r[4], out[-1][4]),)
            else:
                out.append(r)
        return out

    def check_dead(self, S, p, d, base):
        nid, place, dead, ids = d.dead, d.deadplace, [], set()
        what = 'the dead list of disk %s of %s' % (enc(d.name), p.what)
        while nid != Z32:
            need(nid not in ids, '%s is a circle', what)
            ids.add(nid)

            def use(data):
                need(sha(data) == nid, '%s: a page has not its id', what)
                return record(data, b'VFdp', what)
            c, q = self.fetch(d.name, place, use)
            self.unclaimed(p, [self.okey(d.name, q.gen, INDEX, q.n)])
            nid, pp = c.raw(32), c.raw(16)
            n, g = c.u(4), c.u(2)
            c.zero(2)
            rows = c.rows(g)
            need(1 <= n <= 4096, '%s: a page has %d places', what, n)
            dead += [c.place(rows, (0, INDEX)) for _ in range(n)]
            c.end()
            place = Cur(pp, what).place(rows, (INDEX,))
            need((nid == Z32) == (place is None) and None not in dead, '%s holds the place none', what)
            S['dead_pages'] += 1
        need(sum(x.len for x in dead) == d.deadbytes, '%s is of other bytes than the record says', what)
        S['dead_places'] += len(dead)
        S['dead_unmerged'] += len(dead) - len(self.merge([(x.gen, x.flags, x.n, x.off, x.off + x.len) for x in dead]))
        got, new = self.merge(self.resolve(d.name, dead), what), self.trees[p.id, d.name]
        spare = [r for r in got if r[0] in p.adopted]
        both = self.merge(new)
        need(sum(r[4] - r[3] for r in self.merge(both + spare)) == sum(r[4] - r[3] for r in both + spare),
             '%s holds what the point needs', what)
        for (dn, g, n), s in self.segs.items():         # adopted, but not used
            if dn == d.name and g in p.adopted:
                for off, e in s.entries.items():
                    need(any(r[:3] == (g, 0, n) and r[3] <= off and off + e[2] <= r[4] for r in both + spare),
                         '%s lacks a frame of an adopted generation', what)
        if base is None and p.base:
            return                      # its base was dropped
        was = self.trees.get((base.id, d.name), set()) if base else set()
        need([r for r in got if r[0] not in p.adopted] == self.merge(was - new),
             '%s is not what its base needed and it does not', what)
        S['dead_checked'] += 1

    def segments(self, S, relgens):
        """All objects below d/: sizes; the trailers of segments."""
        self.segs, self.sizes, base = {}, collections.defaultdict(dict), self.key + '/d'
        for dn, disk in self.store.names(base):
            for gs in self.store.list('%s/%s' % (base, dn), GEN):
                gen, last = ungen(gs), -1
                for kind in ('m', 's'):
                    for ns in self.store.list('%s/%s/%s/%s' % (base, dn, gs, kind), '0{8}[0-9a-f]{8}'):
                        key = '%s/%s/%s/%s/%s' % (base, dn, gs, kind, ns)
                        obj, n = self.store.must(key), int(ns, 16)
                        self.sizes[disk, gen][kind, n] = len(obj)
                        S['bytes_objects'] += len(obj)
                        S['segments' if kind == 's' else 'index_objects'] += 1
                        if kind == 'm':
                            self.records(obj, key)
                        else:
                            s, nums = self.trailer(obj, key, gen, n)
                            self.segs[disk, gen, n] = s
                            if gen not in relgens:
                                need(all(a < b for a, b in zip([last] + nums, nums)), '%s: frames do not ascend', key)
                                last = nums[-1]

    @staticmethod
    def records(obj, key):
        pos = 0
        while pos < len(obj):
            magic, ln = bytes(obj[pos:pos + 4]), max(16, int.from_bytes(obj[pos + 8:pos + 12], 'little'))
            need(magic in (b'VFpg', b'VFft', b'VFdp'), '%s holds something else at %d', key, pos)
            record(obj[pos:pos + ln], magic, 'the record at %d of %s' % (pos, key))
            pos += ln
        need(pos, '%s is empty', key)

    @staticmethod
    def trailer(obj, key, gen, n):
        need(len(obj) >= 8 and obj[-4:] == b'VFse', '%s has no trailer', key)
        ln = int.from_bytes(obj[-8:-4], 'little')
        need(ln <= len(obj) - 8, '%s has a trailer beyond its start', key)
        end = len(obj) - 8 - ln
        c = record(obj[end:-8], b'VFst', 'the trailer of ' + key)
        need(c.gen() == gen and c.u(4) == n, '%s is of another object', c.what)
        out, nums, pos = {}, [], 0
        for _ in range(c.u(4)):
            f, digest, off, sl, flags = c.u(8), c.raw(32), c.u(4), c.u(4), c.u(2)
            c.zero(6)
            need(off == pos and sl and flags < 2 and digest != Z32, '%s has a bad entry', c.what)
            out[off] = (f, digest, sl, flags)
            nums.append(f)
            pos += sl
        c.end()
        need(pos == end and nums, '%s does not end where its frames end', c.what)
        return Seg(out, end), nums

    def others(self, S, pts):
        """Sessions, lists; what no live point has."""
        names = self.store.list(self.key + '/w', GEN + '([.]end)?')
        for x in names:
            key = '%s/w/%s' % (self.key, x)
            g, obj = ungen(x[:-4] if x.endswith('.end') else x), self.store.must(key)
            if x.endswith('.end'):
                c = record(obj, b'VFwe', key)
                ok = c.gen() == g and 1 <= c.u(2) <= 4
                c.zero(6)
                ok = ok and c.u(8) <= self.head.seq
                c.zero(8)
            else:
                S['open_sessions'] += x + '.end' not in names
                c = record(obj, b'VFws', key)
                ok = c.raw(16) == self.vault.id and c.gen() == g
                c.raw(16 + 8 + 16 + 24)
                ok = ok and 1 <= c.u(2) <= 6
                a, w = c.u(2), c.u(4)
                c.raw(32)
                c.name()
                ok = ok and c.name() == self.name and not w
                c.rows(a)
            c.end()
            need(ok, '%s is not the session that its key says', key)
        for x in self.store.list(self.key + '/l', GEN):
            self.read_list(self.store.must('%s/l/%s' % (self.key, x)), '%s/l/%s' % (self.key, x))
        S['leftover'] += sum(ungen(x) not in pts for x in self.store.list(self.key + '/p', GEN))


def main(av):
    owner = None
    if '--owner' in av[1:-1]:
        i = av.index('--owner')
        owner = bytes.fromhex(av[i + 1])
        del av[i:i + 2]
    cmd, args = (av[1], av[2:]) if len(av) > 1 else (None, [])
    if len(args) not in {'list': (0, 1), 'show': (2,), 'cat': (3, 5), 'sha256': (3,), 'check': (0, 1)}.get(cmd, ()):
        print(__doc__, file=sys.stderr)
        return 2
    v, out = Vault(av[0], owner), sys.stdout.buffer
    names = [os.fsencode(args[0])] if args else v.vms()
    if cmd == 'check':
        S = dict.fromkeys('vms commits points disks frames frame_refs zero_frames nodes bytes_stored segments '
                          'index_objects bytes_objects dead_pages dead_places dead_unmerged dead_checked labels escrow '
                          'addenda open_sessions leftover'.split(), 0)
        for n in names:
            VM(v, n).check(S)
            S['vms'] += 1
        print(json.dumps(dict(S, vault=v.id.hex(), owner=v.owner.hex(), config=v.n)))
    elif cmd == 'list' and not args:
        for n in names:
            h = VM(v, n).head
            print('%s\thead %d\tpoints %d' % (n.decode(), h.seq, len(h.rows)))
    elif cmd == 'list':
        vm = VM(v, names[0])
        for p in map(vm.load, vm.head.rows):
            print('\t'.join([iso(p.time), genstr(p.id)] + [' '.join((enc(d.name), str(d.size), d.root.hex()))
                                                           for d in p.disks]))
    else:
        vm = VM(v, names[0])
        p = vm.point(args[1])
        if cmd == 'show':
            docs = p.escrow(p.obj) + vm.addenda()[p.id]
            print(json.dumps({'id': genstr(p.id), 'time': p.time, 'base': genstr(p.base) if p.base else None,
                              'hold': bool(p.row.flags & 1), 'expiry': p.row.expiry, 'labels': p.labels(p.obj),
                              'escrow': [[d.decode() if d else None, doc] for d, doc in docs],
                              'disks': {d.name.decode(): {'size': d.size, 'root': d.root.hex()} for d in p.disks}}))
            return 0
        d = vm.disk(p, args[2])
        data = vm.read(d, *map(int, args[3:]))
        if cmd == 'sha256':
            h = hashlib.sha256()
            for x in data:
                h.update(x)
            print(h.hexdigest())
        else:
            for x in data:
                out.write(x)
            out.flush()
    return 0


if __name__ == '__main__':
    try:
        sys.exit(main(sys.argv[1:]))
    except Bad as e:
        sys.exit('reader: %s' % e)
    except Exception as e:              # bad bytes must not give a traceback
        if os.environ.get('READER_TRACE'):
            raise
        sys.exit('reader: %s: %s' % (type(e).__name__, ' '.join(str(e).split())))
