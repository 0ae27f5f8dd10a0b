#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# On a terminal a job of over a second shows how far it is, seldom, and leaves
# nothing behind; elsewhere it says nothing.
# long: terminals, and what they show in time
. "$SRC/tests/lib.sh"

make_image a.img 100M 1
vaultctl init -q vault
run_ok vaultctl backup vault vm -d os=a.img
assert_eq "$ERR" ""

# Runs a command with a terminal for its standard error, and stops it for a
# while once it has begun to write, so that it takes long for certain.
cat >terminal.py <<'PY'
import os, pty, signal, subprocess, sys, time
master, slave = pty.openpty()
p = subprocess.Popen(sys.argv[1:], stderr=slave, stdout=subprocess.DEVNULL)
os.close(slave)
while p.poll() is None and not os.path.exists('.out.img.vaultfs-partial'):
    time.sleep(0.001)
p.send_signal(signal.SIGSTOP)
time.sleep(1.2)
p.send_signal(signal.SIGCONT)
out = b''
try:
    while part := os.read(master, 65536):
        out += part
except OSError:
    pass
assert p.wait() == 0, out
sys.stdout.buffer.write(out)
PY
# It may have been at its end already when it was stopped.
for _ in 1 2 3 4 5; do
	rm -f out.img
	said=$(python3 terminal.py vaultctl restore vault vm latest --to out.img)
	[[ $said ]] && break
done
assert_contains "$said" "os: "
assert_contains "$said" "of 100.00 MiB"
assert_contains "$said" "/s"
[[ $said == *$'\r\033[K' ]] || fail "left on the terminal: $said"
lines=$(tr '\r' '\n' <<<"$said" | grep -c MiB)
((lines <= 50)) || fail "drawn $lines times"
rm out.img
assert_eq "$(python3 terminal.py vaultctl restore -q vault vm latest --to out.img)" ""
