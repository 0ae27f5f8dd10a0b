#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# An image that changes while it is read: the backup fails, and there is no point.
. "$SRC/tests/lib.sh"

has_segment() {
	vault_keys vault | grep -q '^V/vm/d/os/.*/s/\|^tmp/'
}

# interfere CMD...: starts a backup, stops it in its middle, runs the command.
interfere() {
	local pid
	vault_remove vault
	vaultctl init -q vault
	vaultctl backup vault vm -d os=img >out 2>err &
	pid=$!
	at_exit sh -c "kill -9 $pid 2>/dev/null"
	wait_until 20 has_segment
	kill -STOP "$pid"
	"$@"
	kill -CONT "$pid"
	CODE=0
	wait "$pid" || CODE=$?
	ERR=$(cat err)
}

make_image img 150M 1
interfere truncate -s 1M img
assert_eq $CODE 1
assert_contains "$ERR" "img"
assert_contains "$ERR" "shrank"
assert_eq "$(wc -l <<<"$ERR")" 1
run_ok vaultctl list -1 vault
assert_eq "$OUT" ""

make_image img 150M 1
interfere sh -c 'printf x | dd of=img bs=1 seek=1000 conv=notrunc status=none'
assert_eq $CODE 1
assert_contains "$ERR" "while it was read"
run_ok vaultctl list -1 vault
assert_eq "$OUT" ""

# Left alone, it goes through.
truncate -s 20M img
run_ok vaultctl backup vault vm -d os=img
run_ok vaultctl verify vault

# Images that are none.
touch empty
run_fails 1 vaultctl backup vault x -d os=empty
assert_contains "$ERR" "empty"
mkdir dir
run_fails 1 vaultctl backup vault x -d os=dir
assert_contains "$ERR" "directory"
mkfifo fifo
run_fails 1 vaultctl backup vault x -d os=fifo
run_fails 1 vaultctl backup vault x -d os=/dev/zero
run_fails 1 vaultctl backup vault x -d os=missing
assert_contains "$ERR" "missing"
if ! is_remote; then
	run_fails 1 vaultctl backup vault x -d os=vault/vault.hdr
	assert_contains "$ERR" "inside the vault"
fi
run_fails 1 vaultctl backup vault x -d os=img -d data=missing
run_ok vaultctl list -1 vault
assert_eq "$OUT" vm
