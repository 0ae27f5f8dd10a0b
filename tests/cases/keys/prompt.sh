#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# timeout: 120
#
# The passphrase of a KEK's file is asked for on a terminal, and only there: not shown, once,
# by vaultfs before it goes to the background; the terminal is left as it was.
# long: waits for prompts and terminals
. "$SRC/tests/lib.sh"
require python3 openssl

umask 077
phrase='correct horse battery'
openssl genrsa -out plain.pem 3072 2>/dev/null
openssl pkey -in plain.pem -pubout -out kek.pub
openssl pkcs8 -topk8 -in plain.pem -out kek.pem -passout "pass:$phrase" -v2 aes-256-cbc
printf '%s' 'a passphrase of a volume' >bek
vaultkey escrow --to kek.pub --file-name LinuxPassPhraseFileName <bek >record.json

# on_terminal ANSWER CMD...: gives ANSWER to the first prompt; what appeared is in OUT, the
# exit code in CODE. The answer is given once nothing is shown any more.
cat >terminal.py <<'END'
import os, pty, select, sys, termios
answer, argv = sys.argv[1].encode().decode("unicode_escape").encode(), sys.argv[2:]
pid, tty = pty.fork()
if pid == 0:
    os.execvp(argv[0], argv)
before = termios.tcgetattr(tty)[3]
seen = b""
def read():
    """False at the end."""
    global seen
    if not select.select([tty], [], [], 100)[0]:
        sys.exit(f"nothing for a long time after {seen!r}")
    try:
        more = os.read(tty, 4096)
    except OSError:  # the other side is closed
        return False
    seen += more
    return bool(more)
more = True
while more and not seen.endswith(b": "):
    more = read()
if more:
    if termios.tcgetattr(tty)[3] & termios.ECHO:
        sys.exit("what is typed would be shown")
    os.write(tty, answer)
    while read():
        pass
_, status = os.waitpid(pid, 0)
sys.stdout.buffer.write(seen)
sys.exit(os.waitstatus_to_exitcode(status))
END
on_terminal() { _run python3 terminal.py "$@"; }
# asked_once: OUT has one prompt.
asked_once() {
	assert_eq "$(grep -c 'passphrase of .*kek\.pem: ' <<<"$OUT")" 1 "prompts in '$OUT'"
	assert_lacks "$OUT" horse
}

on_terminal "$phrase\n" vaultkey unwrap record.json -k kek.pem --out out
assert_eq "$CODE" 0 "$OUT $ERR"
asked_once
assert_same out bek
rm out
# Wrong: one attempt, one sentence. Control-C, and nothing at all.
on_terminal 'wrong\n' vaultkey unwrap record.json -k kek.pem --out out
assert_eq "$CODE" 1 "$OUT $ERR"
asked_once
assert_contains "$OUT" "kek.pem"
for answer in '\x03' '\n' '\x04'; do
	on_terminal "$answer" vaultkey unwrap record.json -k kek.pem --out out
	assert_eq "$CODE" 1 "$OUT $ERR"
	asked_once
	[[ ! -e out ]] || fail "a BEK without a passphrase"
done
# The terminal shows again what is typed.
on_terminal "$phrase\n" bash -c \
	'vaultkey unwrap record.json -k kek.pem --out out && stty -a >state'
assert_contains " $(tr ';\n' '  ' <state)" " echo "
assert_contains " $(tr ';\n' '  ' <state)" " isig "

# Nor does a signal at the prompt leave it as it is there, and what it does is done. Who
# asks is a thread for which the main one waits; and ThreadSanitizer keeps back what is
# sent to one that waits for another.
signals() {
	[[ $SAN != *thread* ]]
}
cat >signalled.py <<'END'
import fcntl, os, pty, select, signal, subprocess, sys, termios
sig, argv = getattr(signal, sys.argv[1]), sys.argv[2:]
tty, side = pty.openpty()
def own():
    os.setsid()
    fcntl.ioctl(side, termios.TIOCSCTTY, 0)
p = subprocess.Popen(argv, stdin=side, stdout=side, stderr=side, preexec_fn=own)
seen = b""
def read():
    global seen
    if not select.select([tty], [], [], 100)[0]:
        sys.exit(f"nothing for a long time after {seen!r}")
    seen += os.read(tty, 4096)
while not seen.endswith(b": "):
    read()
shown = lambda: termios.tcgetattr(side)[3] & termios.ECHO
if shown():
    sys.exit("what is typed would be shown")
p.send_signal(sig)
# It may wait until what it writes is read.
while True:
    try:
        code = p.wait(0.1)
        break
    except subprocess.TimeoutExpired:
        if select.select([tty], [], [], 0)[0]:
            read()
if not shown():
    sys.exit("the terminal is left without echo")
while select.select([tty], [], [], 0)[0]:
    read()
print(code, seen.decode().replace("\r", ""))
END
for sig in SIGTERM SIGINT SIGHUP; do
	signals || continue
	run_ok python3 signalled.py $sig vaultkey unwrap record.json -k kek.pem --out out
	assert_eq "${OUT%% *}" 1 "$OUT"
	assert_contains "$OUT" "kek.pem: stopped by "
done

# No terminal: said, and not waited for.
run_fails 1 vaultkey unwrap record.json -k kek.pem </dev/null
assert_contains "$ERR" "kek.pem is encrypted: add ,pass-file=FILE or ,pass-fd=N"

# vaultfs asks, then goes to the background.
require_fuse
vaultctl init -q vault --name v
head -c 100K /dev/zero >os.img
vaultctl backup -q vault vm -d os=os.img
mkdir mnt
at_exit fusermount3 -uzq mnt
# The signal comes to the one that waits for it in the foreground.
if signals; then
	run_ok python3 signalled.py SIGTERM vaultfs --kek kek.pem vault mnt
	assert_eq "${OUT%% *}" 1 "$OUT"
	assert_contains "$OUT" "kek.pem: stopped by Terminated"
fi
on_terminal 'wrong\n' vaultfs --kek kek.pem vault mnt
assert_eq "$CODE" 1 "$OUT $ERR"
asked_once
is_mounted mnt && fail "mounted with a wrong passphrase"
on_terminal "$phrase\n" vaultfs --kek kek.pem vault mnt
assert_eq "$CODE" 0 "$OUT $ERR"
asked_once
is_mounted mnt || fail "not mounted"
assert_same mnt/v/vm/latest/disks/os.img os.img
fusermount3 -u mnt
run_fails 1 vaultfs --kek kek.pem vault mnt </dev/null
assert_contains "$ERR" "kek.pem is encrypted: add ,pass-file=FILE or ,pass-fd=N"
