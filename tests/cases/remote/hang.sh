#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# needs: VAULT_URL_BASE
# timeout: 120
#
# A service that takes requests and does not answer: who reads can be interrupted, a mount
# can be ended while somebody reads, and a command by a signal; nobody waits for the end
# of a request that may never come.
. "$SRC/tests/lib.sh"
require_fuse

relay_service
# No request fails by itself as long as this case may run.
export VAULTFS_RETRY=1h
url=$(vault_url vault)
make_image a.img 16M 1
vaultctl init -q "$url"
vaultctl backup -q "$url" vm -d os=a.img
disk=mnt/vault/vm/latest/disks/os.img

mount_vault --refresh 0 --offline wait --cache-size 1M --disk-cache-size 0 "$url" mnt
exec 5<$disk
head -c 1M <&5 | cmp -n 1M - a.img
relay_hang
# Who asks for names is answered; who reads the kernel wakes itself (mount/direct has those
# with O_DIRECT).
for what in stat listdir; do
	python3 - mnt/vault/vm $what <<-'END' || fail "$what is not interrupted"
		import os, signal, sys
		def rings(*_):
		    raise InterruptedError
		signal.signal(signal.SIGALRM, rings)
		signal.alarm(1)
		try:
		    os.listdir(sys.argv[1]) if sys.argv[2] == "listdir" else os.stat(sys.argv[1])
		except InterruptedError:
		    sys.exit(0)
		sys.exit("it was answered from nowhere")
	END
done
timeout -s INT 1 cat <&5 >/dev/null && fail "it was read from nowhere"

# Ended while somebody reads.
cat <&5 >rest 2>/dev/null &
reader=$!
sleep 0.3
kill -TERM "$(daemon_pid mnt)"
wait_daemon mnt
is_mounted mnt && fail "still mounted"
wait $reader || :
exec 5<&-

# A command.
env --default-signal=INT vaultctl verify "$url" >out 2>err &
pid=$!
at_exit sh -c "kill -9 $pid 2>/dev/null"
catches() { ((16#$(sed -n 's/^SigCgt:[[:space:]]*//p' "/proc/$pid/status") & 2)); }
wait_until 30 catches
kill -INT $pid
code=0
wait $pid || code=$?
assert_eq $code 1 "$(cat err)"
assert_contains "$(cat err)" "stopped"

# And then all is well.
relay_goes_on
run_ok vaultctl verify "$url"
