#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# needs: VAULT_URL_BASE
# timeout: 240
#
# Backups killed at some moments leave a whole vault, and the next one goes on.
. "$SRC/tests/lib.sh"

url=$VAULT_URL_BASE/$VAULT_CASE/vault
make_image a.img 24M 1
vaultctl init -q "$url"
for tenths in 1 2 4 7; do
	vaultctl backup -q "$url" vm -d os=a.img >out 2>err &
	pid=$!
	sleep 0.$tenths
	kill -9 $pid 2>/dev/null || :
	wait $pid || :
	run_ok vaultctl verify -q "$url"
done
run_ok vaultctl backup "$url" vm -d os=a.img
run_ok vaultctl verify "$url"
run_ok vaultctl restore -q "$url" vm latest --to out.img
assert_same out.img a.img
