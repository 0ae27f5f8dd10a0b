#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the golden vault, from backend/vault/FORMAT.md alone: an independent writer.

mkvault.py DIR          makes the vault in DIR (which must not be there); prints as JSON what a reader must see
mkvault.py --vectors    prints known-answer vectors as JSON
mkvault.py --pack DIR   makes golden-1.tar.xz, small-1.tar.xz, what a reader must see of them as .json, and
                        vectors-1.json in DIR

Seeds, nonces and times are fixed: the same libzstd makes the same bytes."""
import bisect, hashlib, json, os, shutil, struct, subprocess, sys, tempfile
import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

F, RAW, INDEX, POINT, ESCROW = 65536, 1, 2, 4, 8
SEC, T0 = 10**9, 1700000000 * 10**9
NONE, Z32 = bytes(16), bytes(32)
VAULT = bytes(range(0xa0, 0xb0))
pack = struct.pack


def sha(*p): return hashlib.sha256(b''.join(p)).digest()
def h16(n): return '%016x' % n
def inv(n): return h16(2**64 - 1 - n)
def gs(g): return h16(g[0]) + '.' + h16(g[1])
def gb(g): return pack('<QQ', *g)
def name204(b): return pack('<H200sH', len(b), b, 0)


def enc(b):
    ok = b'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-'
    return ''.join(chr(c) if c in ok and not (c == 46 and i == 0) else '%%%02X' % c for i, c in enumerate(b))


def crc32c(data, table=[]):
    if not table:
        for i in range(256):
            for _ in range(8):
                i = i >> 1 ^ 0x82F63B78 * (i & 1)
            table.append(i)
    c = 2**32 - 1
    for x in data:
        c = c >> 8 ^ table[(c ^ x) & 255]
    return c ^ 2**32 - 1


class Key:
    def __init__(self, seed):
        self.seed = sha(b'vaultfs golden ' + seed)
        self.k = Ed25519PrivateKey.from_private_bytes(self.seed)
        self.pub = self.k.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def rec(magic, body, key=None, tag=None):
    h = pack('<4sHBBI', magic, 1, 0, 0, 16 + len(body) + (64 if key else 0))
    if key:
        assert len(tag) == 16
        body += key.k.sign(tag + h + bytes(4) + body)
    return h + pack('<I', crc32c(h + bytes(4) + body)) + body


class Rows(list):
    """A row table that grows with the places that are put."""
    def row(self, g):
        if g not in self:
            self.append(g)
        return self.index(g)

    def put(self, p):           # a place: (gen, flags, n, off, len)
        return pack('<IIIHH', p[2], p[3], p[4], self.row(p[0]), p[1]) if p else NONE

    def table(self): return b''.join(map(gb, self))


def chunk_id(digests): return sha(b'vaultfs:chunk:1\0', pack('<I', len(digests)), *digests) if any(map(any, digests)) else Z32


def page_id(level, ids):
    return sha(b'vaultfs:page:1\0\0', pack('<II', level, len(ids)), *ids) if any(map(any, ids)) else Z32


class Vault:
    def __init__(self, root):
        self.root, self.owner, self.n, self.cfg, self.keys, self.vms = root, Key(b'owner'), 0, Z32, [], {}
        self.put('vault.hdr', rec(b'VFhd', VAULT + self.owner.pub + pack('<q', T0) + bytes(56)))

    def put(self, key, data):
        path = os.path.join(self.root, key)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'xb') as f:
            f.write(data)

    def drop(self, key): os.unlink(os.path.join(self.root, key))

    def config(self, add=None, retire=None):
        self.n += 1
        if retire:
            retire['retired'], retire['heads'] = self.n, [sha(v.name) + pack('<Q', v.seq) for v in self.vms.values()]
        if add:
            self.keys.append({'key': add[0], 'label': add[1], 'added': self.n, 'retired': 0, 'heads': []})
        keys, heads = b'', []
        for k in self.keys:
            keys += pack('<32sQQII16s64s', k['key'].pub, k['added'], k['retired'], len(heads) if k['heads'] else 0, len(k['heads']), b'',
                         k['label'])
            heads += k['heads']
        obj = rec(b'VFcf', VAULT + pack('<Q', self.n) + self.cfg + pack('<qQQQHHIII', T0 + self.n, 0, 0, 0, 0,
                  len(self.keys), len(heads), 0, 0) + name204(b'golden') + self.owner.pub + bytes(4) + keys
                  + b''.join(heads), self.owner, b'vaultfs:config:1')
        self.put('h/' + inv(self.n), obj)
        self.cfg, self.writer = sha(obj), self.keys[-1]['key']


class Out:
    """Objects of one kind of a session and disk: filled up, then begun anew."""
    def __init__(self, vm, disk, gen, kind, limit):
        self.vm, self.disk, self.gen, self.kind, self.limit = vm, disk, gen, kind, limit
        self.n, self.buf, self.items, self.stored = 0, b'', [], 0

    def add(self, data, f=0, digest=Z32, raw=0):
        p = (self.gen, raw if self.kind == 's' else INDEX, self.n, len(self.buf), len(data))
        self.items.append((f, digest, p[3], p[4], raw))
        self.buf += data
        if len(self.items) == self.limit:
            self.flush()
        return p

    def flush(self):
        if self.items:
            if self.kind == 's':
                t = rec(b'VFst', gb(self.gen) + pack('<II', self.n, len(self.items)) +
                        b''.join(pack('<Q32sIIHHI', *i, 0, 0) for i in self.items))
                self.buf += t + pack('<I4s', len(t), b'VFse')
            key = (self.disk, self.gen, self.kind, self.n)
            self.vm.objects[key] = {i[2]: i for i in self.items}
            self.vm.put(self.vm.path(key), self.buf)
            self.stored += len(self.buf)
            self.n, self.buf, self.items = self.n + 1, b'', []


class Point:
    pass


class VM:
    def __init__(self, vault, name):
        self.vault, self.name, self.key, self.seq, self.digest = vault, name, 'V/' + enc(name), 0, Z32
        self.points, self.pages, self.rel, self.swp, self.moves, self.objects = {}, [], 0, 0, [], {}
        self.addenda, self.nonce, self.kept = {}, 0, set()
        vault.vms[name] = self

    def put(self, key, data): self.vault.put(self.key + '/' + key, data)
    def path(self, k): return 'd/%s/%s/%s/%s' % (enc(k[0]), gs(k[1]), k[2], h16(k[3]))

    def gen(self):
        self.nonce += 1
        return self.seq + 1, int.from_bytes(sha(b'nonce', self.name, bytes([self.nonce >> 8, self.nonce & 255]))[:8], 'little')

    def session(self, gen, kind, base=None, adopted=(), end=None):
        w = self.vault.writer.pub
        self.put('w/' + gs(gen), rec(b'VFws', VAULT + gb(gen) + gb(base or (0, 0)) + pack('<q', T0) + sha(b'boot')[:16]
                 + pack('<QQQHHI', 4242, 77, 4026531836, kind, len(adopted), 0) + w + name204(b'host.example')
                 + name204(self.name) + b''.join(map(gb, adopted))))
        if end:
            self.end(gen, *end)

    def end(self, gen, outcome, seq):
        self.put('w/%s.end' % gs(gen), rec(b'VFwe', gb(gen) + pack('<H6sQ8s', outcome, b'', seq, b'')))

    # --- commits
    def commit(self, kind, body, gen, changed):
        """changed: the index rows (dicts) after it, by time, paged as before; pages that differ go inline."""
        self.seq += 1
        n = len(changed)
        off, table, inline, points = 416 + 72 * n + len(body), b'', b'', 0
        self.pages, old = [], self.pages
        for i, rows in enumerate(changed):
            page = rec(b'VFix', pack('<II', len(rows), 0) + b''.join(r['bytes'] for r in rows))
            where = [p[1:] for p in old if p[0] == page]
            if where and i < n - 1:
                seq, o = where[0]
            else:
                seq, o = self.seq, off + len(inline)
                inline += page
            self.pages.append((page, seq, o))
            table += pack('<qqIIQII32s', rows[0]['time'], rows[-1]['time'], len(rows), len(page), seq, o, 0, sha(page))
            points += len(rows)
        self.index = changed
        if kind in (3, 5):
            self.swp, self.rel = (self.seq, self.rel) if kind == 3 else (self.swp, self.seq)
        newest = self.points[changed[-1][-1]['gen']].record if n else b''
        obj = rec(b'VFcm', VAULT + pack('<Q32sQ32sHHIq', self.seq, self.digest, self.vault.n, self.vault.cfg, kind, 0,
                  len(body), T0 + self.seq * SEC) + gb(gen) + name204(self.name) + self.vault.writer.pub
                  + pack('<IQQQII', 0, self.rel, self.swp, points, n, len(newest)) + table + body + inline + newest,
                  self.vault.writer, b'vaultfs:commit:1')
        self.put('c/' + inv(self.seq), obj)
        self.digest = sha(obj)

    index = []

    def row(self, p, hold=0, expiry=0):
        return {'time': p.time, 'gen': p.gen, 'hold': hold, 'expiry': expiry, 'bytes': pack(
            '<q16s32sIIBBHHHq', p.time, gb(p.gen), sha(p.record), len(p.record), p.size, p.cons, 0, hold, len(p.disks),
            0, expiry)}

    def insert(self, row):
        pages = [list(p) for p in self.index] or [[]]
        i = max([0] + [i for i, p in enumerate(pages) if p and p[0]['time'] < row['time']])
        bisect.insort(pages[i], row, key=lambda r: r['time'])
        if len(pages[i]) > 256:                     # split; at the end only the new row moves on
            cut = 256 if pages[i][-1] is row else 128
            pages[i:i + 1] = [pages[i][:cut], pages[i][cut:]]
        return pages

    # --- backup
    def backup(self, time, disks, base=None, labels={}, escrow=(), adopted=(), gen=None, cons=2, seg=6, deadmax=4096):
        """disks: {name: (size, chunk_log2, {frame: bytes})}; adopted: [(gen, {(disk, frame): (digest, place)}, objects)]."""
        p = Point()
        p.gen, p.time, p.cons, p.disks, p.tree, p.dead, p.base = gen or self.gen(), time, cons, disks, {}, {}, base
        rows, roots, darea = Rows([a[0] for a in adopted]), [], []
        b = self.points.get(base)
        for dn in sorted(disks):
            size, log2, frames = disks[dn]
            frames = {f: d for f, d in frames.items() if any(d)}
            nf, cf = -(-size // F), 1 << log2 - 16
            assert all(len(d) == min(F, size - f * F) for f, d in frames.items())
            segs, idx = Out(self, dn, p.gen, 's', seg), Out(self, dn, p.gen, 'm', 9)
            bt = b.tree.get(dn) if b else None
            have = dict(bt['frames']) if bt and bt['log2'] == log2 else {}
            for a in adopted:
                have.update({f: v for (d, f), v in a[1].items() if d == dn and have.get(f, (0,))[0] != v[0]})
            tree = {'log2': log2, 'frames': {}, 'nodes': {}, 'units': set()}
            chunks = sorted({f // cf for f in frames})

            def node(level, no, ids, count, head):
                """Writes or reuses a table (level -1) or page; the root page's bytes are returned as they are."""
                nid = chunk_id([i for i, _ in ids]) if level < 0 else page_id(level, [i for i, _ in ids])
                was = bt and bt['log2'] == log2 and bt['nodes'].get((level, no))
                if was and was[0] == ids and level != root:
                    place = was[1]
                else:
                    r = Rows()
                    es = b''.join(i + r.put(q) for i, q in ids)
                    data = rec(b'VFft' if level < 0 else b'VFpg', head(len(ids), len(r)) + r.table() + es)
                    if level == root:
                        return nid, data
                    place = idx.add(data)
                tree['nodes'][level, no] = (ids, place)
                tree['units'].add(place)
                return nid, place

            def table(c):
                mine = [f for f in range(c * cf, min(nf, c * cf + cf))]
                dig = {f: sha(frames[f]) for f in mine if f in frames}
                old = {f: have[f] for f in dig if f in have and have[f][0] == dig[f]}
                if len({v[1][0] for v in old.values()}) + (len(old) < len(dig)) > 4:
                    old = {}                        # at most four generations in a chunk
                for f in dig:
                    if f not in old:
                        z = zstandard.ZstdCompressor(level=3).compress(frames[f])
                        raw = len(z) > len(frames[f]) - len(frames[f]) // 16
                        old[f] = dig[f], segs.add(frames[f] if raw else z, f, dig[f], int(raw))
                    tree['frames'][f] = old[f]
                    tree['units'].add(old[f][1])
                return node(-1, c, [old.get(f, (Z32, None)) for f in mine], 0,
                            lambda e, g: pack('<QHHI', c, e, g, 0))

            def page(level, no, total):
                step = 256 if level == 0 else 1024
                kids, per = range(no * step, min(total[level], no * step + step)), cf * 256 * 1024**(level - 1)
                ids = []
                for k in kids:
                    if level == 0:
                        ids.append(table(k) if k in cset else (Z32, None))
                    else:
                        full = any(k * per <= f < k * per + per for f in frames)
                        ids.append(page(level - 1, k, total) if full else (Z32, None))
                return node(level, no, ids, 0, lambda e, g: pack('<BBHHHQ', level, 0, e, g, 0, no))

            cset, total, root = set(chunks), [-(-nf // cf)], 0
            while -(-total[-1] // (1024 if root else 256)) > 1:
                total.append(-(-total[-1] // (1024 if root else 256)))
                root += 1
            tree['root'], rootpage = page(root, 0, total) if frames else (Z32, None)
            # what the base needed and this does not; what was adopted in vain
            dead = (bt['units'] if bt else set()) - tree['units']
            dead |= {v[1] for a in adopted for (d, _), v in a[1].items() if d == dn} - tree['units']
            runs, last, prev = [], Z32, None
            for g, fl, n, off, ln in sorted((g, fl & INDEX, n, off, ln) for g, fl, n, off, ln in dead):
                if runs and runs[-1][:3] == (g, fl, n) and runs[-1][3] + runs[-1][4] == off:
                    runs[-1] = runs[-1][:4] + (runs[-1][4] + ln,)
                else:
                    runs.append((g, fl, n, off, ln))
            p.dead[dn] = []
            for i in range(0, len(runs), deadmax):
                r, part = Rows(), runs[i:i + deadmax]
                pp, es = r.put(prev), b''.join(map(r.put, part))
                data = rec(b'VFdp', last + pp + pack('<IHH', len(part), len(r), 0) + r.table() + es)
                last, prev = sha(data), idx.add(data)
                p.dead[dn].append(prev)
            segs.flush()
            idx.flush()
            p.tree[dn] = tree
            roots.append(rootpage or b'')
            darea.append((name204(dn) + pack('<BBHQ', log2, root, 0, size) + tree['root'], rootpage, last, prev, pack(
                '<QQQQ56s', sum(r[4] for r in runs), sum(map(len, frames.values())), segs.stored + idx.stored, size, b'')))
        pairs = sorted((k.encode(), x.encode()) for k, x in labels.items())
        lab = b''.join(pack('<H', len(x)) + x for kv in pairs for x in kv)
        order = sorted(disks)
        esc = b''.join(pack('<HHI', order.index(d) if d else 0xffff, 0, len(j)) + j for d, j in
                       ((d, json.dumps(j).encode()) for d, j in escrow))
        for d in darea:                             # the rows first: they move the roots
            if d[1]:
                rows.row(p.gen)
            if d[3]:
                rows.row(d[3][0])
        head = 384 + 16 * len(rows) + 400 * len(disks)
        pos, area = head + len(lab) + len(esc), b''
        for a, rootpage, did, dplace, tail in darea:
            area += a + rows.put((p.gen, POINT, 0, pos, len(rootpage)) if rootpage else None) + did + rows.put(dplace) + tail
            pos += len(rootpage or b'')
        part = lambda off, x: pack('<II32s', off, len(x), sha(x)) if x else bytes(40)
        p.record = rec(b'VFpr', VAULT + gb(p.gen) + gb(base or (0, 0)) + pack('<qqBBHHHH6s', time, T0 + self.seq, cons, 0, 0,
                       len(disks), len(rows), len(adopted), b'') + name204(self.name) + bytes(4) + part(head, lab)
                       + part(head + len(lab), esc) + rows.table() + area)
        obj = p.record + lab + esc + b''.join(roots)
        p.size, p.labels, p.escrow = len(obj), labels, list(escrow)
        self.put('p/' + gs(p.gen), obj)
        self.points[p.gen] = p
        self.commit(1, gb(p.gen), p.gen, self.insert(self.row(p)))
        return p.gen

    def orphan(self, gen, disk, frames):
        """A segment of a session that was killed: what there is to adopt."""
        o = Out(self, disk, gen, 's', 99)
        got = {(disk, f): (sha(d), o.add(zstandard.ZstdCompressor(level=3).compress(d), f, sha(d)))
               for f, d in sorted(frames.items())}
        o.flush()
        return gen, got

    def addendum(self, pid, disk, doc):
        g, j = self.gen(), json.dumps(doc).encode()
        self.put('e/' + gs(g), rec(b'VFea', VAULT + gb(g) + gb(pid) + pack('<q', T0) + name204(self.name) +
                 (name204(disk) if disk else bytes(204)) + self.vault.writer.pub + pack('<QII', self.vault.n, len(j), 0) + j,
                 self.vault.writer, b'vaultfs:escrow:1'))
        self.addenda[g] = (pid, disk, doc)

    # --- the other kinds
    def rows_but(self, change):
        pages = [[change(r) for r in p] for p in self.index]
        return [p for p in ([r for r in p if r] for p in pages) if p]

    def prune(self, *gens):
        self.commit(2, pack('<II', len(gens), 0) + b''.join(map(gb, gens)), self.gen(),
                    self.rows_but(lambda r: None if r['gen'] in gens else r))
        for g in gens:
            del self.points[g]

    def hold(self, changes):
        self.commit(6, pack('<II', len(changes), 0) + b''.join(gb(g) + pack('<H6sq', h, b'', x) for g, (h, x) in
                    changes.items()), self.gen(), self.rows_but(
                    lambda r: self.row(self.points[r['gen']], *changes[r['gen']]) if r['gen'] in changes else r))

    def final(self, disk, p):
        for m in self.moves:
            for d, a, b in m:
                if d == disk and a[:3] == (p[0], p[1] & INDEX, p[2]) and a[3] <= p[3] and p[3] + p[4] <= a[3] + a[4]:
                    p = (b[0], p[1], b[2], b[3] + p[3] - a[3], p[4])
                    break
        return p

    def live(self):
        """Final places of all that live points need: (disk, place)."""
        return {(d, self.final(d, u)) for p in self.points.values() for d in p.disks
                for u in p.tree[d]['units'] | set(p.dead[d])}

    def list(self, gen, kind, disks, rows, es):
        obj = rec(b'VFls', pack('<HHHHII', kind, len(disks), len(rows), 0, len(es), 0) + b''.join(map(name204, disks))
                  + rows.table() + b''.join(es))
        self.put('l/' + gs(gen), obj)
        return sha(obj) + pack('<II', len(obj), 0)

    def sweep(self, dropped, outcome=1, spare=0, swept=True):
        """Claims every object without live bytes, the point objects in dropped and their addenda; deletes, says so."""
        keep = {(d, u[0], 'm' if u[1] & INDEX else 's', u[2]) for d, u in self.live()}
        gone = sorted(k for k in self.objects if k not in keep and k[1] not in self.kept)
        gen, rows, disks, es = self.gen(), Rows(), sorted({k[0] for k in gone}), []
        for d, g, kind, n in gone:
            es.append(pack('<HHHHII', disks.index(d), rows.row(g), INDEX if kind == 'm' else 0, 0, n, 0))
        keys = [self.path(k) for k in gone]
        for g in dropped:
            es.append(pack('<HHHHII', 0xffff, rows.row(g), POINT, 0, 0, 0))
            keys.append('p/' + gs(g))
        for g in [g for g, a in self.addenda.items() if a[0] in dropped]:
            es.append(pack('<HHHHII', 0xffff, rows.row(g), ESCROW, 0, 0, 0))
            keys.append('e/' + gs(g))
            del self.addenda[g]
        self.commit(3, self.list(gen, 3, disks, rows, es), gen, self.index)
        for k in keys[spare:]:
            self.vault.drop(self.key + '/' + k)
        for k in gone:
            del self.objects[k]
        if swept:
            self.commit(4, pack('<QII', self.seq, outcome, 0), self.gen(), self.index)
        return len(es)

    def relocate(self, disk, want):
        """Moves what is live in the objects of disk that want(gen, kind, n) picks."""
        live = sorted(u for d, u in self.live() if d == disk and want(u[0], 'm' if u[1] & INDEX else 's', u[2]))
        gen, rows, runs, outs = self.gen(), Rows(), [], {}
        for k in 's', 'm':
            outs[k] = Out(self, disk, gen, k, 9999)
        for u in live:
            g, fl, n, off, ln = u
            k = 'm' if fl & INDEX else 's'
            with open(os.path.join(self.vault.root, self.key, self.path((disk, g, k, n))), 'rb') as f:
                f.seek(off)
                data = f.read(ln)
            i = self.objects[disk, g, k, n][off]
            to = outs[k].add(data, i[0], i[1], i[4])
            last = runs[-1] if runs else None
            if last and last[0][:3] == (g, fl & INDEX, n) and last[0][3] + last[0][4] == off and last[1][1] == fl & INDEX:
                runs[-1] = [q[:4] + (q[4] + ln,) for q in last]
            else:
                runs.append([(g, fl & INDEX, n, off, ln), (to[0], fl & INDEX) + to[2:]])
        for o in outs.values():
            o.flush()
        es = [pack('<H6s', 0, b'') + rows.put(a) + rows.put(b) for a, b in runs]
        prev, body = self.rel, self.list(gen, 5, [disk], rows, es)
        self.commit(5, body + pack('<Q', prev), gen, self.index)
        self.moves.append([(disk, a, b) for a, b in runs])
        return len(runs)

    def expect(self):
        out = []
        for r in sum(self.index, []):
            p = self.points[r['gen']]
            docs = p.escrow + [a[1:] for g, a in sorted(self.addenda.items()) if a[0] == p.gen]
            out.append({'id': gs(p.gen), 'time': p.time, 'base': gs(p.base) if p.base else None, 'hold': bool(r['hold']),
                        'expiry': r['expiry'], 'labels': p.labels, 'escrow': [[d.decode() if d else None, j] for d, j in docs],
                        'disks': {d.decode(): {'size': p.disks[d][0], 'root': p.tree[d]['root'].hex(),
                                               'sha256': image(*p.disks[d])} for d in sorted(p.disks)}})
        return out


def image(size, log2, frames, memo={}):
    key = (size, tuple(sorted((f, sha(d)) for f, d in frames.items())))
    if key not in memo:
        h = hashlib.sha256()
        for f in range(-(-size // F)):
            h.update(frames.get(f) or bytes(min(F, size - f * F)))
        memo[key] = h.hexdigest()
    return memo[key]


def text(s, n=F): return (b'%s\n' % s.encode() * (n // (len(s) + 1) + 1))[:n]
def noise(s, n=F): return hashlib.shake_256(s.encode()).digest(n)


def golden(root):
    v = Vault(root)
    v.config(add=(Key(b'writer a'), b'host-a'))
    a, t = VM(v, 'größe 1'.encode()), VM(v, b'tiny')
    root_size, tail = 17 * F + 12345, 12345
    one = {f: text('root %d' % f) for f in range(17) if f % 5 != 3}
    one.update({2: noise('two'), 17: noise('tail', tail)})
    big = {f: text('data %d ' % f + 'x' * (f % 40)) for f in list(range(0, 40)) + [1600, 4095, 4096, 4500, 4799]}
    d1 = {b'root': (root_size, 18, one), b'data': (300 << 20, 20, big), b'zero': (200 << 10, 18, {}),
          b'.swap %': (1, 22, {0: b'!'})}
    p1 = a.backup(T0 + SEC, d1, labels={'os': 'linux', 'app': 'größte'}, escrow=[(None, {'k': 1}), (b'root', {'key': 'abc'})])
    one2, big2 = dict(one), dict(big)
    one2.update({0: text('root 0 new'), 2: bytes(F), 3: noise('short', 3000) + bytes(F - 3000), 7: text('seven')})
    big2.update({5: text('five'), 7: noise('seven'), 8: text('eight', F // 2) + noise('8', F // 2), 4500: bytes(F), 2000: text('new leaf part'), 4799: text('last')})
    d2 = {**d1, b'root': (root_size, 18, one2), b'data': (300 << 20, 20, big2)}
    p2 = a.backup(T0 + 2 * SEC + 123456789, d2, base=p1, labels={'n': '2'}, deadmax=2)
    a.addendum(p2, None, {'note': 'whole vm'})
    a.addendum(p2, b'data', {'note': 'später'})
    a.addendum(p1, b'root', {'note': 'goes with its point'})
    # the disk grows, one becomes not zero, one is new, one is of other chunks
    one3 = {**one2, 17: noise('tail', tail) + bytes(F - tail), 18: text('grown', 5)}
    d3 = {**d2, b'root': (18 * F + 5, 18, one3), b'zero': (200 << 10, 18, {3: noise('z', 8192)}),
          b'.swap %': (1, 18, {0: b'!'}), b'new': (F, 20, {0: text('new disk')})}
    p3 = a.backup(T0 + 3 * SEC, d3, base=p2, cons=1)
    x = a.gen()
    a.session(x, 1, p3)
    four = {8: text('eight, by the killed one'), 9: text('nine, by the killed one'), 12: text('never used')}
    adopted = a.orphan(x, b'root', four)
    one4 = {**one3, 8: four[8], 9: four[9], 10: text('ten')}
    g4 = a.gen()
    a.session(g4, 1, p3, [x])
    p4 = a.backup(T0 + 4 * SEC, {**d3, b'root': (18 * F + 5, 18, one4)}, base=p3, adopted=[adopted], gen=g4, cons=3,
                  labels={'a': 'short key', 'ä': '', 'z': 'Ω'}, escrow=[(b'new', {'kind': 'luks', 'n': [1, 2]}), (None, {'k': 'ü'})])
    a.end(g4, 1, a.seq)
    a.end(x, 4, a.seq)
    # many points of a small disk
    cur, prev, gens = {}, None, []

    def tiny(i):
        nonlocal prev, cur
        if i % 5 == 0:
            cur = {**cur, i // 5 % 6: text('tiny %d' % i, F if i // 5 % 6 < 5 else 100)}
        prev = t.backup(T0 + i * SEC, {b'd': (5 * F + 100, 19, cur)}, base=prev, labels={'i': str(i)} if i % 50 == 0 else {})
        gens.append(prev)
    for i in range(1, 271):
        tiny(i)
    v.config(add=(Key(b'writer b'), b'host-b'), retire=v.keys[0])
    for i in range(271, 291):
        tiny(i)
    t.backup(T0 - 5 * SEC + 1, {b'd': (700, 20, {0: text('older', 700)})})      # splits the full first page
    t.prune(*gens[10:14], gens[200])
    t.sweep(gens[10:14] + [gens[200]], outcome=2, spare=2)
    # the first VM, by the second writer
    a.hold({p2: (1, 0), p3: (0, T0 + 10**15)})
    a.prune(p1)
    counts = {'sweep': a.sweep([p1])}
    counts['moved'] = a.relocate(b'data', lambda g, k, n: g == p1 and n < 2)
    a.sweep([])
    counts['moved again'] = a.relocate(b'data', lambda g, k, n: g != p3)
    a.sweep([])
    one5 = {**one4, **{f: text('again %d' % f) for f in (1, 4, 5, 6)}}
    big5 = {**big2, 6: text('six'), 30: bytes(F), 4095: text('other')}
    p5 = a.backup(T0 + 5 * SEC, {**d3, b'root': (18 * F + 5, 18, one5), b'data': (300 << 20, 20, big5)}, base=p4)
    one6 = {**one5, 4: noise('last', 5000) + bytes(F - 5000)}
    p6 = a.backup(T0 + 6 * SEC, {b'root': (18 * F + 5, 18, one6), b'data': (300 << 20, 20, big5)}, base=p5)
    a.backup(T0 - 7 * SEC, {b'old': (3 * F, 19, {1: text('imported')})})
    p7 = a.backup(T0 - 6 * SEC, {b'old': (2 * F, 19, {1: text('imported, dropped')})})
    a.prune(p7)
    a.sweep([p7], swept=False)
    y = a.gen()                                     # a session that is open
    a.session(y, 1, p6)
    a.kept.add(y)
    a.orphan(y, b'root', {0: text('under way')})
    return {'vault': VAULT.hex(), 'owner': v.owner.pub.hex(), 'config': v.n, 'counts': counts,
            'vms': {m.name.decode(): {'key': enc(m.name), 'head': m.seq, 'pages': len(m.index), 'points': m.expect()}
                    for m in v.vms.values()}}


def small(root):
    """Little of everything, for tests that damage each byte of it."""
    v = Vault(root)
    v.config(add=(Key(b'writer a'), b'host-a'))
    a, b = VM(v, b'a b'), VM(v, b'b')
    b.backup(T0, {b'only': (700, 20, {0: text('only', 700)})})
    d = {1025: text('far'), 1030: noise('short', 2000) + bytes(F - 2000), 1055: noise('tail', 321)}
    e = {0: text('e 0'), 2: text('e 2'), 3: noise('e', 300)}
    disks = lambda: {b'd': (1055 * F + 321, 18, dict(d)), b'e': (3 * F + 300, 18, dict(e))}
    p1 = a.backup(T0 + SEC, {**disks(), b'zero': (5, 20, {})}, labels={'k': 'v', 'os': 'x'}, escrow=[(None, {'k': 1})], seg=2)
    a.addendum(p1, None, {'n': 1})
    e.update({1: text('e 1'), 2: text('e 2 new')})
    d.update({1025: text('far new')})
    p2 = a.backup(T0 + 2 * SEC, disks(), base=p1, labels={'n': '2'}, deadmax=1)
    v.config(add=(Key(b'writer b'), b'host-b'), retire=v.keys[0])
    a.addendum(p2, b'e', {'n': 2})
    x = a.gen()
    a.session(x, 1, p2)
    adopted = a.orphan(x, b'e', {0: text('e 0 adopted'), 1: text('in vain')})
    e.update({0: text('e 0 adopted')})
    g = a.gen()
    a.session(g, 1, p2, [x], end=(1, a.seq + 1))
    a.end(x, 4, 0)
    p3 = a.backup(T0 + 3 * SEC, disks(), base=p2, adopted=[adopted], gen=g)
    a.hold({p2: (1, 0)})
    a.prune(p1)
    a.sweep([p1], swept=False)
    a.relocate(b'e', lambda g, k, n: g in (p1, p2))
    a.sweep([])
    a.relocate(b'e', lambda g, k, n: g not in (p1, p2, p3, x))
    e.update({1: text('e 1 again')})
    a.backup(T0 + 4 * SEC, disks(), base=p3)
    return {'vault': VAULT.hex(), 'owner': v.owner.pub.hex(), 'config': v.n,
            'vms': {m.name.decode(): {'key': enc(m.name), 'head': m.seq, 'pages': len(m.index), 'points': m.expect()}
                    for m in v.vms.values()}}


def vectors():
    k, names = Key(b'owner'), ['größe 1', '.hidden', 'a.b_c-D9', 'x y%z', 'ü' * 33, '...', 'a/b', '.', '..', '', 'a\nb',
                              'ü' * 34, 'x' * 200, 'x' * 201, 'a\x7f']
    ok = lambda b: (0 < len(b) <= 200 and len(enc(b)) <= 200 and b not in (b'.', b'..')
                    and not any(c < 32 or c in (47, 127) for c in b))
    fr = [text('frame 0'), bytes(F), text('frame 2', 777)]
    dg = [sha(f) if any(f) else Z32 for f in fr]
    ids = [chunk_id(dg), Z32, chunk_id(dg[:1])]
    body = VAULT + bytes(range(40))
    places = [(7, 0x1234, 0x100, 3, RAW), (0xffffffff, 0, 1, 0, INDEX), (0, 416, 96, 65535, POINT)]
    r = Rows()
    r.put(((5, 6), 0, 0, 0, 1))
    table = rec(b'VFft', pack('<QHHI', 9, 3, 1, 0) + r.table() + b''.join(
        d + (pack('<IIIHH', 1, i * 64, 50 + i, 0, i and RAW) if any(d) else NONE) for i, d in enumerate(dg)))
    leaf = rec(b'VFpg', pack('<BBHHHQ', 0, 0, 3, 1, 0, 4) + r.table() + b''.join(
        i + (pack('<IIIHH', 2, n * 200, 200, 0, INDEX) if any(i) else NONE) for n, i in enumerate(ids)))
    return {
        'crc32c': [{'data': d.hex(), 'crc': crc32c(d)} for d in (b'', b'a', b'123456789', bytes(32), b'\xff' * 32, bytes(range(200)))],
        'record': [{'magic': 'VFxx', 'body': body.hex(), 'record': rec(b'VFxx', body).hex()}],
        'names': [{'name': n.encode().hex(), 'ok': ok(n.encode()), 'key': enc(n.encode()) if ok(n.encode()) else None,
                   'name204': name204(n.encode()).hex() if ok(n.encode()) else None} for n in names]
        + [{'name': 'c3', 'ok': False, 'key': None, 'name204': None}],
        'point_names': [{'seq': s, 'nonce': n, 'name': gs((s, n)), 'bytes': gb((s, n)).hex()}
                        for s, n in ((1, 0), (300, 0x0123456789abcdef), (2**64 - 1, 2**64 - 1))],
        'descending': [{'n': n, 'name': inv(n)} for n in (0, 1, 2, 255, 2**63, 2**64 - 1)],
        'places': [{'n': p[0], 'offset': p[1], 'length': p[2], 'row': p[3], 'flags': p[4], 'bytes': pack('<IIIHH', *p).hex()}
                   for p in places],
        'frames': [{'text': 'frame 0', 'length': F, 'digest': dg[0].hex()}, {'text': '', 'length': F, 'digest': dg[1].hex()},
                   {'text': 'frame 2', 'length': 777, 'digest': dg[2].hex()}],
        'frames_note': 'a frame is its text and a newline, again and again, cut to the length; without a text, zeros',
        'chunks': [{'digests': [d.hex() for d in x], 'id': chunk_id(x).hex()} for x in (dg, dg[:1], [Z32] * 4)],
        'pages': [{'level': n, 'ids': [i.hex() for i in x], 'id': page_id(n, x).hex()}
                  for n, x in ((0, ids), (1, ids[:1]), (2, ids[2:] * 5), (1, [Z32, Z32]))],
        'table': {'chunk': 9, 'record': table.hex(), 'id': ids[0].hex()},
        'leaf': {'number': 4, 'record': leaf.hex(), 'id': page_id(0, ids).hex()},
        'signatures': [{'seed': k.seed.hex(), 'public': k.pub.hex(), 'tag': tag.decode(), 'magic': m.decode(), 'body': body.hex(),
                        'record': rec(m, body, k, tag).hex()} for m, tag in
                       ((b'VFcf', b'vaultfs:config:1'), (b'VFcm', b'vaultfs:commit:1'), (b'VFea', b'vaultfs:escrow:1'))]}


def dump(x): return json.dumps(x, ensure_ascii=False, indent=1, sort_keys=True) + '\n'


def main(av):
    if av == ['--vectors']:
        sys.stdout.write(dump(vectors()))
    elif len(av) == 2 and av[0] == '--pack':
        tmp = tempfile.mkdtemp()
        try:
            for name, data in ('golden-1', golden(tmp + '/golden-1')), ('small-1', small(tmp + '/small-1')), \
                    ('vectors-1', vectors()):
                with open('%s/%s.json' % (av[1], name), 'w', encoding='utf-8') as f:
                    f.write(dump(data))
            for name in 'golden-1', 'small-1':
                tar = subprocess.run(['tar', '-C', tmp, '--sort=name', '--mtime=@0', '--owner=0', '--group=0',
                                      '--numeric-owner', '--mode=u=rwX,go=rX', '--format=ustar', '-cf', '-', name],
                                     check=True, stdout=-1).stdout
                with open('%s/%s.tar.xz' % (av[1], name), 'wb') as f:
                    f.write(subprocess.run(['xz', '-9e', '-T1'], input=tar, check=True, stdout=-1).stdout)
        finally:
            shutil.rmtree(tmp)
    elif len(av) == 1 and not av[0].startswith('-'):
        os.mkdir(av[0])
        sys.stdout.write(dump(golden(av[0])))
    else:
        sys.exit(__doc__)


if __name__ == '__main__':
    main(sys.argv[1:])
