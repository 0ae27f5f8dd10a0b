#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# timeout: 180
#
# As memory.sh, with the KEK in an HSM: the PIN and the BEK in the memory of vaultfs.
# The KEK is not looked for: SoftHSM is a library, so that it is in its host's memory.
# long: the whole memory of processes is searched, a second a search
. "$SRC/tests/lib.sh"
. "$SRC/tests/volumes.sh"
require_fuse
require cryptsetup mke2fs jq openssl softhsm2-util python3
[[ ! $SAN ]] || skip "the memory of a sanitizer is too large to be searched"
use_softhsm

umask 077
mkdir tree
openssl rand -hex 20 | tr -d '\n' >pin
make_kek kek
openssl pkcs8 -topk8 -nocrypt -in kek.pem -out k8.pem
softhsm2-util --init-token --free --label t1 --pin "$(cat pin)" --so-pin 567890 >/dev/null
softhsm2-util --import k8.pem --token t1 --label kek --id a1b2 --pin "$(cat pin)" >/dev/null
echo hello >tree/hello
make_fs clear 4M tree
key_file k1 one
passphrase p1 one
luks one 2 k1 p1 clear
record p1 kek LinuxPassPhraseFileName >r1.json
vaultctl init -q vault --name v
vaultctl backup -q vault vm -d os=one --escrow os=r1.json

open_all() {
	mount_vault -vv --kek 'pkcs11:token=t1;object=kek;type=private,pass-file=pin' vault mnt
	assert_eq "$(jq -r '[.volumes[] | .name + "=" + .state] | join(" ")' \
		mnt/v/vm/latest/volumes/volumes.json)" os=open
	cmp mnt/v/vm/latest/volumes/os.img clear
}
search() {
	_run python3 "$SRC/tests/memsearch.py" mem "$(daemon_pid mnt)" pin=pin bek=p1 key=k1
	((CODE != 77)) || skip "the memory of another process cannot be read"
}
open_all
search
((CODE == 0)) || fail "exit code $CODE: $OUT $ERR"
find mnt -name '*.json' -exec cat {} + >shown
run_ok python3 "$SRC/tests/memsearch.py" files pin=pin bek=p1 key=k1 -- \
	shown "$(daemon_log mnt)"
umount_vault mnt

# A vaultfs that leaks it is caught.
mkdir leaks
python3 "$SRC/tests/memsearch.py" forms leaks pin=pin
export LD_PRELOAD=$BUILD/tests/preload/leak.so LEAK_DIR=$PWD/leaks
open_all
unset LD_PRELOAD LEAK_DIR
search
assert_eq "$CODE" 1
for f in leaks/*; do
	assert_contains "$OUT" "pin ${f#leaks/pin.} [heap]"
done
umount_vault mnt
