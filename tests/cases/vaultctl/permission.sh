#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What this user may not read or write: told in a sentence.
. "$SRC/tests/lib.sh"

make_image x.img 300K
vaultctl init -q vault
vaultctl backup -q vault vm -d os=x.img
mkdir nobody theirs bin
# Where the program was built another user may not come.
cp "$(command -v vaultctl)" bin/
PATH=$TMPDIR/bin:$PATH
if ((EUID == 0)); then
	require setpriv
	chmod 711 . ..
	chown 65534 nobody
	as=(setpriv --reuid 65534 --regid 65534 --clear-groups env
		VAULTFS_CONFIG_DIR="$TMPDIR/nobody/c" VAULTFS_STATE_DIR="$TMPDIR/nobody/s")
	"${as[@]}" vaultctl --version >/dev/null 2>&1 ||
		skip "another user cannot run the program from here"
	chmod 700 vault
	chmod 600 x.img
else
	as=()
	chmod a-w theirs
	at_exit chmod -R u+rwX vault x.img
	chmod 0 vault x.img
fi

for c in "list vault" "show vault" "verify vault" "key list vault" \
	"backup vault vm -d os=x.img" "restore vault vm latest --to nobody/x"; do
	# shellcheck disable=SC2086
	run_fails 1 "${as[@]}" vaultctl $c
	assert_contains "$ERR" "ermission denied" "$c"
done

# May read the vault, and not write it.
chmod u+rwX vault
chmod -R a+rX vault
((EUID == 0)) || chmod -R a-w vault
run_ok "${as[@]}" vaultctl list vault
run_ok "${as[@]}" vaultctl verify vault
run_ok "${as[@]}" vaultctl restore vault vm latest --to nobody/x.img
run_fails 1 "${as[@]}" vaultctl restore -q vault vm latest --to theirs/x.img
assert_contains "$ERR" "ermission denied"
chmod a+r x.img
run_fails -l any 1 "${as[@]}" vaultctl backup vault vm -d os=x.img
run_fails 1 "${as[@]}" vaultctl init theirs/vault
assert_contains "$ERR" "ermission denied"
run_ok vaultctl verify vault
