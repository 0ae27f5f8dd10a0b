#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A service over TLS: its certificate is checked, by --cacert too; a sentence for each thing
# that can be wrong with it, and nothing is sent before that.
# long: a server, its proxy or its certificates are started for each part; unit/http has the same answers
. "$SRC/tests/lib.sh"
. "$SRC/tests/service.sh"
require python3 openssl

certificate right IP:127.0.0.1
certificate other IP:127.0.0.1
start_fake right.pem
vault=az://acct/vaults/v
run_ok vaultctl init --cacert right-ca.pem "$vault"
make_image a.img 3M
run_ok vaultctl backup --cacert right-ca.pem "$vault" vm -d os=a.img
run_ok vaultctl restore -q --cacert right-ca.pem "$vault" vm latest --to out.img
assert_same out.img a.img

before=$(say count)
run_fails 1 vaultctl list --cacert other-ca.pem "$vault"
assert_contains "$ERR" "the certificate of 127.0.0.1:"
assert_contains "$ERR" "is not trusted: --cacert names the authority's"
# Nor is it one of the system's.
run_fails 1 vaultctl list "$vault"
assert_contains "$ERR" "is not trusted"
run_fails 1 vaultctl list --cacert nothing.pem "$vault"
assert_contains "$ERR" "--cacert nothing.pem"
echo nonsense >nonsense.pem
run_fails 1 vaultctl list --cacert nonsense.pem "$vault"
assert_contains "$ERR" "has no certificate that can be read"
# Where there is no TLS at all.
AZURE_STORAGE_SERVICE_ENDPOINT=http${FAKE_URL#https} VAULTFS_RETRY=1s \
	run_fails 1 vaultctl list --cacert right-ca.pem "$vault"
assert_eq "$(say count)" "$before" "requests that came"
if [[ -e /dev/fuse ]] && command -v fusermount3 >/dev/null; then
	require_fuse
	mount_vault --cacert right-ca.pem "$vault" mnt
	assert_same mnt/v/vm/latest/disks/os.img a.img
	umount_vault mnt
	run_fails 1 vaultfs --cacert other-ca.pem "$vault" mnt
	assert_contains "$ERR" "is not trusted"
fi

# Of another name; and one that is over.
certificate named DNS:storage.test
start_fake named.pem
run_fails 1 vaultctl list --cacert named-ca.pem "$vault"
assert_contains "$ERR" "is for another name"
assert_lacks "$ERR" "not trusted"
certificate old IP:127.0.0.1 -1
start_fake old.pem
run_fails 1 vaultctl list --cacert old-ca.pem "$vault"
assert_contains "$ERR" "has expired"
