#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# kill -9 in a loop: at no moment is there a point that is not whole, and in the end the
# backup goes through, by what the killed ones have stored.
# long: programs are killed again and again; unit/writer_faults has each call fail
. "$SRC/tests/lib.sh"

vaultctl init -q vault
make_image a.img 20M 1
vaultctl backup -q vault vm -d os=a.img -t 2026-01-01T00:00:00Z
cp a.img first.img
make_image a.img 60M 2

for i in {1..12}; do
	vaultctl backup -q vault vm -d os=a.img -t 2026-01-02T00:00:00Z 2>err &
	pid=$!
	sleep "0.$(printf %03d $((i * 20)))"
	kill -9 $pid 2>/dev/null || :
	code=0
	wait $pid 2>/dev/null || code=$?
	((code == 137 || code == 0)) || fail "exit code $code: $(cat err)"
	vaultctl verify -q vault || fail "after kill $i"
	# Killed between the commit and its own end, it has done its work.
	if vaultctl list vault vm | grep -q '^2026-01-02'; then
		code=0
		break
	fi
done
if ((code)); then
	# On a busy machine each may have been killed before it had stored anything.
	left=$(vault_keys vault | grep -c '^V/vm/d/os/0000000000000002\..*/s/' || :)
	run_ok vaultctl backup vault vm -d os=a.img -t 2026-01-02T00:00:00Z --json
	((left == 0)) || assert_contains "$OUT" '"resumed": true'
fi
vaultctl restore -q vault vm latest --to out.img
assert_same out.img a.img
vaultctl restore -q vault vm 2026-01-01 --to out1.img
assert_same out1.img first.img
run_ok vaultctl verify vault
