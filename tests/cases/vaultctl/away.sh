#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A service that goes away in the middle of a command: it fails and says so, in one
# sentence without a secret; nothing is called bad that could only not be had.
. "$SRC/tests/lib.sh"
. "$SRC/tests/service.sh"
require python3

start_fake
key=$AZURE_STORAGE_KEY
vault=az://acct/vaults/v

run_ok vaultctl init "$vault"
make_image a.img 3M
run_ok vaultctl backup "$vault" vm -d os=a.img
run_ok vaultctl verify "$vault"

# Longer than any command waits.
met=0
for ((skip = 1; skip < 14; skip += 3)); do
	say fault 503-far GET 1000000 $skip >/dev/null
	_run vaultctl verify "$vault"
	say clear >/dev/null
	((CODE)) || break
	met=$((met + 1))
	assert_eq "$CODE" 1
	assert_eq "$(wc -l <<<"$ERR")" 1 "$ERR"
	assert_contains "$ERR" "503"
	assert_lacks "$ERR$OUT" "$key"
	assert_eq "$OUT" ""
done
((met)) || fail "the fault was never met"

say fault 503-far PUT 1000000 1 >/dev/null
run_fails 1 vaultctl backup "$vault" vm -d os=a.img
assert_contains "$ERR" "503"
say clear >/dev/null

# Who may not delete can back up; who may not create is told so.
say deny DELETE >/dev/null
run_ok vaultctl backup "$vault" other -d os=a.img
run_ok vaultctl init az://acct/vaults/another
say allow DELETE >/dev/null
say deny PUT >/dev/null
run_fails 1 vaultctl backup "$vault" third -d os=a.img
assert_contains "$ERR" "refuses it to us"
say allow PUT >/dev/null
run_ok vaultctl verify "$vault"

# A secret that stands in a URL is neither taken nor repeated.
run_fails 1 vaultctl list 'az://acct/vaults/v?sv=1&sig=HUSH'
assert_contains "$ERR" "AZURE_STORAGE_SAS_TOKEN"
assert_lacks "$ERR" HUSH
AZURE_STORAGE_KEY=$(base64 <<<wrong) run_fails 1 vaultctl list "$vault"
assert_contains "$ERR" "does not know the key"
