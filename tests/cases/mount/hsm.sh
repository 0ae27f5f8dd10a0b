#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A KEK in an HSM that refuses the PIN: it is asked once, its volumes are locked with that
# reason, those of other KEKs open, and the mount stays; it is tried again after SIGHUP.
# long: a token is made for it
. "$SRC/tests/lib.sh"
. "$SRC/tests/volumes.sh"
require_fuse
require cryptsetup mke2fs jq openssl softhsm2-util
use_softhsm

umask 077
mkdir tree
make_kek kek
make_kek hsm
openssl pkcs8 -topk8 -nocrypt -in hsm.pem -out k8.pem
softhsm2-util --init-token --free --label t1 --pin 123456 --so-pin 567890 >/dev/null
softhsm2-util --import k8.pem --token t1 --label kek --id a1b2 --pin 123456 >/dev/null
echo hello >tree/hello
make_fs clear 4M tree
for i in 1 2 3; do
	key_file k$i $i
	passphrase p$i $i
	luks v$i 2 k$i p$i clear
done
record p1 kek LinuxPassPhraseFileName >r1.json
record p2 hsm LinuxPassPhraseFileName >r2.json
record p3 hsm LinuxPassPhraseFileName >r3.json
vaultctl init -q vault --name v
vaultctl backup -q vault vm -d a=v1 -d b=v2 -d c=v3 --escrow a=r1.json --escrow b=r2.json \
	--escrow c=r3.json
printf 654321 >pin
volumes=mnt/v/vm/latest/volumes
mount_vault --kek 'pkcs11:token=t1;object=kek;type=private,pass-file=pin' --kek kek.pem \
	vault mnt
assert_eq "$(ls $volumes | tr '\n' ' ')" "a.img b.locked c.locked volumes.json "
for v in b c; do
	assert_contains "$(cat $volumes/$v.locked)" "$v is locked (unknown): "
	assert_contains "$(cat $volumes/$v.locked)" \
		"the token refuses the PIN; it is not tried again"
done
assert_eq "$(jq -r '.volumes[] | select(.name == "b") | .state' $volumes/volumes.json)" unknown
assert_same $volumes/a.img clear
# Once, and told once.
assert_eq "$(grep -c 'the token refuses the PIN.*it is out of use' "$(daemon_log mnt)")" 1
assert_lacks "$(cat "$(daemon_log mnt)" $volumes/*.locked)" 654321
# SIGHUP: once more.
kill -HUP "$(daemon_pid mnt)"
again() {
	cat $volumes/b.locked >/dev/null
	(($(grep -c 'the token refuses the PIN.*it is out of use' "$(daemon_log mnt)") == 2))
}
wait_until 60 again
assert_same $volumes/a.img clear
umount_vault mnt
