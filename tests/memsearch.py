#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks for secrets, in every form that one can leak in, in the memory of a process or in files.

memsearch.py mem PID SECRET...          prints "SECRET FORM WHERE" of each that is where it must not be
memsearch.py files SECRET... -- FILE... the same: it must not be there at all
memsearch.py forms DIR SECRET...        writes each form to DIR/NAME.FORM, for controls

SECRET is NAME=FILE or NAME=FILE:nowhere. In memory, one may be as it is, or with its bytes reversed
as OpenSSL's numbers have them, where the mapping is locked (lo) and left out of core dumps (dd), and it
must be found there, or nothing was searched; any other form is one too many. With :nowhere, any is.
Exit 0: all is well; 1: something was found, or missed; 77: the memory cannot be read."""
import base64, os, re, sys

# So much of one in a row is a find: what is left of a copy that was freed lacks its
# first bytes, and a key's schedule has its first bytes only.
PART = 16
SECRET_MIN = 2 * PART - 8
CHUNK = 1 << 22


def base64s(data, encode):
    """As in longer data, wherever it begins there: the characters that depend on it alone."""
    for shift in range(3):
        text = encode(bytes(shift) + data)
        yield text[(shift * 4 + 2) // 3:(len(data) + shift) * 4 // 3]


def forms(data):
    out = {"raw": data, "reversed": data[::-1], "hex": data.hex().encode(), "HEX": data.hex().upper().encode()}
    for i, text in enumerate(base64s(data, base64.b64encode)):
        out[f"base64-{i}"] = text
    for i, text in enumerate(base64s(data, base64.urlsafe_b64encode)):
        out[f"base64url-{i}"] = text
    for name in ("raw", "hex", "base64-0", "base64url-0"):
        wide = out[name].decode("latin-1")
        out[f"utf16le-{name}"] = wide.encode("utf-16-le")
        out[f"utf16be-{name}"] = wide.encode("utf-16-be")
    return out


class Secret:
    def __init__(self, arg):
        self.name, _, path = arg.partition("=")
        self.nowhere = path.endswith(":nowhere")
        with open(path.removesuffix(":nowhere"), "rb") as f:
            data = f.read()
        if len(data) < SECRET_MIN:
            sys.exit(f"memsearch: {self.name}: fewer than {SECRET_MIN} bytes are found by chance")
        self.forms = forms(data)


class Search:
    """All at once: each aligned word of the data is looked up among the words, at any offset, of all
    forms; where one is known, those beside it have to follow."""

    def __init__(self, secrets):
        self.places = {}
        for s in secrets:
            for form, text in s.forms.items():
                for i in range(len(text) - 7):
                    self.places.setdefault(int.from_bytes(text[i:i + 8], sys.byteorder), []).append((s, form, text, i))
        self.words = frozenset(self.places)

    def found(self, data):
        """The pairs of a secret and a form that data have."""
        out = set()
        for word in self.words.intersection(memoryview(data)[:len(data) & ~7].cast("Q")):
            for s, form, text, i in self.places[word]:
                # Of wide characters half is nothing.
                part = PART * 2 if form.startswith("utf16") else PART
                some = (text[a:a + part] for a in range(max(i + 8 - part, 0), min(i, len(text) - part) + 1))
                if (s, form) not in out and any(p in data for p in some):
                    out.add((s, form))
        return out


def mappings(pid):
    """(start, end, name, flags) of each that may have bytes of its own."""
    head = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ (\d+)\s*(.*)")
    with open(f"/proc/{pid}/smaps") as f:
        for line in f:
            m = head.match(line)
            if m:
                start, end, perms, inode, name = m.groups()
                used = 0
            elif line.startswith(("Rss:", "Swap:")):
                used += int(line.split()[1])
            elif line.startswith("VmFlags:"):
                # A file's pages that nobody writes to are the file's.
                if used and perms[0] == "r" and (perms[1] == "w" or inode == "0") and name not in ("[vvar]", "[vsyscall]"):
                    yield int(start, 16), int(end, 16), name or "anonymous", line.split()[1:]


def chunks(mem, start, end):
    """Overlapping, so that no part is cut in two."""
    while start < end:
        size = min(CHUNK, end - start)
        data = os.pread(mem, size, start)
        if data.count(0) != len(data):
            yield data
        if start + size >= end:
            return
        start += size - 4096


def search_memory(pid, secrets):
    bad, seen, searched = set(), set(), 0
    search = Search(secrets)
    try:
        mem = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    except PermissionError:
        sys.exit(77)
    for start, end, name, flags in list(mappings(pid)):
        private = "lo" in flags and "dd" in flags
        try:
            for data in chunks(mem, start, end):
                searched += len(data)
                for s, form in search.found(data):
                    if private and form in ("raw", "reversed") and not s.nowhere:
                        seen.add(s.name)
                    else:
                        bad.add(f"{s.name} {form} {name} [{' '.join(flags)}]")
        except PermissionError:
            sys.exit(77)
        except OSError as e:
            # Unmapped meanwhile, by a thread that ended.
            print(f"memsearch: {name}: {e}", file=sys.stderr)
    missed = [s.name for s in secrets if not s.nowhere and s.name not in seen]
    print(f"memsearch: {searched >> 10} KiB searched", file=sys.stderr)
    return sorted(bad) + [f"{name} not-found-in-locked-memory" for name in missed]


def search_files(secrets, paths):
    bad, search = [], Search(secrets)
    for path in paths:
        with open(path, "rb") as f:
            data = f.read()
        bad += sorted(f"{s.name} {form} {path}" for s, form in search.found(data))
    return bad


def main(args):
    what, rest = args[0], args[1:]
    if what == "forms":
        for s in map(Secret, rest[1:]):
            for form, text in s.forms.items():
                with open(f"{rest[0]}/{s.name}.{form}", "wb") as f:
                    f.write(text)
        return 0
    if what == "mem":
        bad = search_memory(int(rest[0]), [Secret(a) for a in rest[1:]])
    else:
        at = rest.index("--")
        bad = search_files([Secret(a) for a in rest[:at]], rest[at + 1:])
    print("".join(line + "\n" for line in bad), end="")
    return 1 if bad else 0


sys.exit(main(sys.argv[1:]))
