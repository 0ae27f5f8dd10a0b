#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What is left when vaultkey is stopped halfway, and when the mount dies under what is open.
. "$SRC/tests/vm/lib.sh"

keys=(--password-file "$DATA/volumes/pass" --bek "$DATA/volumes/data.BEK")
mount_vault "$DATA/vault" mnt
point=$PWD/mnt/contoso/web-01/latest

# stopped SIGNAL: sends it once the record is there. The exit code is in CODE.
stopped() {
	vaultkey open "$point" web "${keys[@]}" >out 2>err &
	local pid=$!
	wait_until 60 test -s /run/vaultfs/web.json
	kill "-$1" "$pid"
	CODE=0
	wait "$pid" || CODE=$?
}

stopped TERM
if ((CODE == 0)); then
	# It had come to its end.
	run_ok vaultkey close web
else
	assert_eq "$CODE" 1
	assert_contains "$(cat err)" "stopped by"
fi
nothing_is_left

stopped KILL
((CODE)) || fail "it ended before it was killed"
run_ok vaultkey close web
nothing_is_left

# The mount dies.
run_ok vaultkey open "$point" web --json "${keys[@]}"
do_mount "$(mount_line os-p2)" root
kill -9 "$(daemon_pid mnt)"
wait "$(daemon_pid mnt)" || :
unset "_daemon[mnt]"
# Loops hold it.
umount -l mnt
echo 3 >/proc/sys/vm/drop_caches
cat root/data/random >/dev/null 2>&1 && fail "bytes out of nothing"
run_fails 1 vaultkey close web
assert_contains "$ERR" "it is mounted on $PWD/root"
umount root
run_ok vaultkey close web
nothing_is_left
