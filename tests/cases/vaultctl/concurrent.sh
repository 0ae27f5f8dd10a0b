#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Two backups of one VM at a time: the second is told at once, and by whom. Of two VMs: both
# go. A backup that was stopped by a signal is gone on with.
. "$SRC/tests/lib.sh"

make_image a.img 120M 1
make_image b.img 1M 2
vaultctl init -q vault
has_segment() {
	vault_keys vault | grep -q '^V/vm/d/os/.*/s/\|^tmp/'
}

vaultctl backup vault vm -d os=a.img >out 2>err &
pid=$!
at_exit sh -c "kill -9 $pid 2>/dev/null"
wait_until 20 has_segment
kill -STOP $pid
run_fails 1 timeout 20 vaultctl backup vault vm -d os=b.img
assert_contains "$ERR" "vm is being backed up by process $pid"
run_fails 1 timeout 20 vaultctl backup vault vm -d os=b.img --take-over
run_ok timeout 20 vaultctl backup vault other -d os=b.img
run_ok timeout 20 vaultctl verify vault
run_ok vaultctl list -1 vault
assert_eq "$OUT" other
kill -CONT $pid
wait $pid || fail "the first backup: $(cat err)"
vaultctl restore -q vault vm latest --to out.img
assert_same out.img a.img

# Signals: one sentence, exit code 1, and the next one takes up what there is.
signals="INT TERM"
[[ ! ${CHECK_ALL-} ]] || signals="INT TERM HUP"
for sig in $signals; do
	vault_remove vault
	vaultctl init -q vault
	# A shell's background jobs ignore SIGINT otherwise.
	env --default-signal=INT vaultctl backup vault vm -d os=a.img >out 2>err &
	pid=$!
	at_exit sh -c "kill -9 $pid 2>/dev/null"
	wait_until 20 has_segment
	kill -"$sig" $pid
	code=0
	wait $pid || code=$?
	assert_eq $code 1 "after SIG$sig"
	assert_eq "$(wc -l <err)" 1
	assert_contains "$(cat err)" "stopped"
	run_ok vaultctl list -1 vault
	assert_eq "$OUT" ""
done
run_ok vaultctl backup vault vm -d os=a.img
assert_contains "$OUT" "resumed"
run_ok vaultctl verify vault
