#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# needs: VAULT_SERVER
# timeout: 180
#
# The service goes away in the middle of a backup, and of a read, and comes back.
. "$SRC/tests/lib.sh"
require_fuse

url=$VAULT_URL_BASE/$VAULT_CASE/vault
make_image a.img 48M 1
vaultctl init -q "$url"
away() {
	"$VAULT_SERVER" kill "$VAULT_SERVER_DIR"
	sleep 0.5
	"$VAULT_SERVER" restart "$VAULT_SERVER_DIR"
}

vaultctl backup -vv "$url" vm -d os=a.img >out 2>err &
pid=$!
at_exit sh -c "kill -9 $pid 2>/dev/null"
wait_until 60 grep -q 'PUT object V/vm/d/os/.*: 20' err
away
wait $pid || fail "the backup: $(tail -n 5 err)"
run_ok vaultctl verify "$url"

mount_vault --refresh 60s "$url" mnt
cat mnt/vault/vm/latest/disks/os.img >out.img 2>err &
pid=$!
at_exit sh -c "kill -9 $pid 2>/dev/null"
wait_until 60 test -s out.img
away
wait $pid || fail "the read: $(cat err)"
assert_same out.img a.img
umount_vault mnt
