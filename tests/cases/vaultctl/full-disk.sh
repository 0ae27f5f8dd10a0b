#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The disk is full: one sentence; what was there is whole, and with room it goes on.
. "$SRC/tests/lib.sh"
require unshare
if [[ ${1-} != inside ]]; then
	space=(unshare -m)
	((EUID == 0)) || space=(unshare -rm)
	"${space[@]}" true 2>/dev/null || skip "needs a mount namespace"
	exec "${space[@]}" "$0" inside
fi
mkdir small
mount -t tmpfs -o size=24M tmpfs small || skip "needs the right to mount"

make_image a.img 8M 1
make_image big.img 26M 2
vaultctl init -q small/vault
run_ok vaultctl backup small/vault vm -d os=a.img
for _ in 1 2; do
	run_fails 1 vaultctl backup small/vault vm -d os=big.img
	assert_contains "$ERR" "No space left"
	run_ok vaultctl verify small/vault
	run_ok vaultctl list -1 small/vault vm
	assert_eq "$(wc -l <<<"$OUT")" 1
done
# Full at every size, down to where not even a session fits.
sizes="100 8 0"
[[ ! ${CHECK_ALL-} ]] || sizes="200 100 50 20 8 4 0"
for left in $sizes; do
	rm -f small/fill
	free=$(($(df -k --output=avail small | tail -n 1) - left))
	((free > 0)) && head -c "${free}K" /dev/zero >small/fill
	run_fails 1 vaultctl backup small/vault vm -d os=big.img
	assert_contains "$ERR" "No space left"
	run_ok vaultctl verify -q small/vault
done
rm -f small/fill
mount -o remount,size=100M small
run_ok vaultctl backup small/vault vm -d os=big.img
assert_contains "$OUT" "resumed"
run_ok vaultctl verify small/vault

# A restore: what is there is kept, and gone on with.
mkdir out
mount -t tmpfs -o size=20M tmpfs out
run_fails -l any 1 vaultctl restore small/vault vm latest --to out/x.img
assert_contains "$ERR" "No space left"
assert_contains "$ERR" "--resume"
assert_contains "$ERR" "vaultctl: out/x.img: writing at "
assert_contains "$ERR" "only 20.00 MiB are free"
[[ ! -e out/x.img && -e out/.x.img.vaultfs-partial ]] || fail "$(ls -la out)"
mount -o remount,size=100M out
run_ok vaultctl restore small/vault vm latest --to out/x.img --resume
assert_same out/x.img big.img
assert_eq "$(ls -A out)" x.img
