#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# timeout: 180
#
# As memory.sh, with the KEK in Key Vault: the BEK comes over TLS, and neither libcurl nor
# OpenSSL keep any of it.
# long: the whole memory of processes is searched, a second a search
. "$SRC/tests/lib.sh"
. "$SRC/tests/volumes.sh"
. "$SRC/tests/azure.sh"
require_fuse
require cryptsetup mke2fs jq openssl python3 curl
python3 -c 'import cryptography' 2>/dev/null || skip "needs python3-cryptography"
[[ ! $SAN ]] || skip "the memory of a sanitizer is too large to be searched"

umask 077
make_kek kek
v1=0123456789abcdef0123456789abcdef
cat >world.json <<END
{"subscription": "$SUB", "tenant": "$TENANT",
 "clients": {"app1": {"secret": "s3cret/+ &=x"}},
 "keyvaults": {"kv1": {"keys": {"kek": {"versions": {"$v1": {"pem": "$PWD/kek.pem"}}}}}},
 "vaults": []}
END
start_azure world.json
at=https://kv1.vault.localhost:$AZ_HTTPS
need_localhost_names "$at"

mkdir tree
echo hello >tree/hello
make_fs clear 4M tree
for i in 1 2; do
	key_file k$i $i
	passphrase p$i $i
	luks v$i 2 k$i p$i clear
	record p$i kek LinuxPassPhraseFileName |
		sed "s|https://kv.vault.azure.net/keys/kek/[0-9a-f]*|$at/keys/kek/$v1|" >r$i.json
done
vaultctl init -q vault --name v
vaultctl backup -q vault vm -d os=v1 -d lun0=v2 --escrow os=r1.json --escrow lun0=r2.json

mount_vault -vv --kek "$at" vault mnt
assert_eq "$(jq -r '[.volumes[] | .name + "=" + .state] | sort | join(" ")' \
	mnt/v/vm/latest/volumes/volumes.json)" "lun0=open os=open"
# The first only asks which token is wanted.
assert_eq "$(azure_count unwrapkey)" 3
cmp mnt/v/vm/latest/volumes/os.img clear
_run python3 "$SRC/tests/memsearch.py" mem "$(daemon_pid mnt)" p1=p1 p2=p2 k1=k1 k2=k2
((CODE != 77)) || skip "the memory of another process cannot be read"
((CODE == 0)) || fail "exit code $CODE: $OUT $ERR"
run_ok python3 "$SRC/tests/memsearch.py" files p1=p1 p2=p2 -- "$(daemon_log mnt)"
umount_vault mnt
