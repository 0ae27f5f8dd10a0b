#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The options that --help lists are those of the man page, with the same letters and values.
. "$SRC/tests/lib.sh"

# One program for all of it: a dozen for each command would be most of its time.
python3 - <<'END'
import os, re, shutil, subprocess

SRC = os.environ["SRC"]


def said_by(*argv):
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout


def tidy(found):
    return {" ".join(text.split()) for text in found}


def of_help(text):
    """Lines "-n --name NAME"."""
    text = re.sub(r"\[=([A-Z]+)\]", r" \1", text)
    return tidy(" ".join(filter(None, m.groups())) for m in re.finditer(
        r"^ +(-[A-Za-z0-9])?,? *(--[a-z][a-z0-9-]*)(?:[= ]([^ \n]+))?(?: .*)?$", text, re.M))


def of_man(text):
    """The same of the .It lines of mdoc text."""
    found = []
    for it in re.findall(r"^\.It Fl (.*)$", text, re.M):
        it = re.sub(r"^-", " --", it)
        it = re.sub(r"^([A-Za-z0-9]) , (Fl )?-", r"-\1 --", it)
        found.append(re.sub(r" (Ns Op = Ns )?Ar ", " ", it, count=1))
    return tidy(found)


def section(page, name):
    """That section or subsection of a page."""
    m = re.search(rf"^\.S[sh] {re.escape(name)}\n(.*?)(?=^\.S[sh] |\Z)", page, re.M | re.S)
    assert m, f"no section {name}"
    return m[1]


def same(what, ours, theirs):
    assert ours and ours == theirs, \
        f"{what}: help only: {sorted(ours - theirs)}, page only: {sorted(theirs - ours)}"


def listed(program):
    return re.findall(r"^  ([a-z]+) .*", said_by(program, "help"), re.M)


def check_page(program, commands):
    path = f"{SRC}/tools/{program}.1"
    with open(path, encoding="utf-8") as f:
        page = f.read()
    shared = of_man(section(page, "Options of every command"))
    assert "-J --json" in shared, shared
    for c in commands:
        same(f"{program} {c}", of_help(said_by(program, "help", *c.split())),
             of_man(section(page, c)) | shared)
    for c in listed(program):
        assert re.search(rf"^\.Ss {c}( |$)", page, re.M), f"no section for {c}"
    lint(path)


def lint(path):
    if shutil.which("mandoc"):
        p = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", path],
                           stdout=subprocess.PIPE, text=True)
        assert p.returncode == 0, p.stdout


check_page("vaultctl", ["init", "backup", "list", "show", "restore", "verify", "prune",
                        "key list", "key show", "key add", "key retire", "key pin"])
check_page("vaultkey", listed("vaultkey"))

# vaultfs: the long options of its help and its page.
with open(f"{SRC}/fs/vaultfs.8", encoding="utf-8") as f:
    items = re.findall(r"^\.It Fl.*", f.read(), re.M)
same("vaultfs",
     set(re.findall(r"(?:^|(?<=[ ,]))--[a-z][a-z0-9-]*", said_by("vaultfs", "--help"), re.M)),
     {"-" + o for it in items for o in re.findall(r"(?:Fl|,) (-[a-z][a-z0-9-]*)", it)})
END
