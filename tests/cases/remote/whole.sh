#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# needs: VAULT_URL_BASE
# timeout: 240
#
# A vault on object storage from beginning to end: made, filled, listed, verified,
# pruned, restored from, mounted. What lets us in is seen nowhere.
. "$SRC/tests/lib.sh"

url=$VAULT_URL_BASE/$VAULT_CASE/vault
run_ok vaultctl init "$url"
assert_contains "$OUT" "vault 'vault'"
run_fails 1 vaultctl init "$url"
run_fails 1 vaultctl list "$url-not"
assert_contains "$ERR" "not a vault"

make_image --holes a.img 9M 1
cp a.img b.img
make_image patch 300K 2
dd if=patch of=b.img bs=64K seek=40 conv=notrunc status=none
run_ok vaultctl backup "$url" web -d os=a.img -t 2026-01-01T00:00:00Z
run_ok vaultctl backup "$url" web -d os=b.img -t 2026-01-02T00:00:00Z -vv
said=$ERR
run_ok vaultctl list "$url" web --names
assert_eq "$OUT" $'2026-01-01T00-00-00Z\n2026-01-02T00-00-00Z'
run_ok vaultctl verify "$url"
run_ok vaultctl restore -q "$url" web 2026-01-01 --to a.out
run_ok vaultctl restore -q "$url" web latest --to b.out
assert_same a.out a.img
assert_same b.out b.img
run_ok vaultctl show "$url" web latest --json

run_ok vaultctl prune "$url" web 2026-01-01
run_ok vaultctl list "$url" web --names
assert_eq "$OUT" 2026-01-02T00-00-00Z
run_ok vaultctl verify "$url"

# No secret at any verbosity, nor with the shim's own variables gone.
assert_contains "$said" "PUT object"
for word in "${AZURE_STORAGE_KEY-none}" "${AWS_SECRET_ACCESS_KEY-none}" \
	Signature SharedKey sig=; do
	assert_lacks "$said" "$word"
done

if [[ -e /dev/fuse ]] && command -v fusermount3 >/dev/null; then
	require_fuse
	mount_vault "$url" mnt
	assert_same mnt/vault/web/latest/disks/os.img b.img
	# The kernel's table of mounts has the URL, and the process no secret.
	grep -qF "$url $PWD/mnt " /proc/mounts || fail "not mounted as $url"
	tr '\0' '\n' <"/proc/$(daemon_pid mnt)/environ" >environ
	for name in AZURE_STORAGE_KEY AWS_SECRET_ACCESS_KEY; do
		assert_eq "$(sed -n "s/^$name=//p" environ)" ""
	done
	umount_vault mnt
fi
