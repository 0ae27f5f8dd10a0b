#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# timeout: 240
#
# With volumes open, where the secrets are in the memory of vaultfs, and that nothing
# which it writes or shows has them, in any form. The search is proved by a vaultfs
# that leaks each.
#
# The passphrase of a KEK's file is nowhere. What vaultfs has to use again is in locked
# memory that no core dump has, and in one form: the KEK, the volume keys, and,
# since the next volume or point may want them, BEKs, passphrases of volumes and PINs.
# long: the whole memory of processes is searched, a second a search
. "$SRC/tests/lib.sh"
. "$SRC/tests/volumes.sh"
require_fuse
require cryptsetup mke2fs sfdisk jq openssl getfattr python3

search() { python3 "$SRC/tests/memsearch.py" "$@"; }
# search_mem MNT SECRET...: what was found is in OUT.
search_mem() {
	local pid
	pid=$(daemon_pid "$1")
	_run search mem "$pid" "${@:2}"
	((CODE != 77)) || skip "the memory of another process cannot be read"
}
nothing() {
	((CODE == 0)) || fail "exit code $CODE: $OUT $ERR"
}
# number KEY FIELD: of an RSA key, as bytes.
number() {
	openssl pkey -in "$1" -noout -text | sed -n "/^$2:/,/^[a-z]/{/^ /p}" |
		tr -d ' :\n' | sed 's/^00//' | python3 -c \
		'import sys; sys.stdout.buffer.write(bytes.fromhex(sys.stdin.read()))'
}

umask 077
make_image root 300K 1
mkdir tree
mv root tree/file
make_fs clear 4M tree
# What LUKS has, and BitLocker; one opened by a record each, one by a passphrase.
key_file k1 one
key_file k2 two
passphrase p1 one
passphrase p2 two
luks one 2 k1 p1 clear
luks two 2 k2 p2 clear
head -c 4M clear >bl
"$_tool/mkbitlocker" -m 8005 -k key.BEK bl
for i in 1 2; do
	head -c 32 k$i >k$i.first
	tail -c 32 k$i >k$i.second
done
# Behind what is known of it: names and sizes.
tail -c 32 key.BEK >bek
openssl rand -base64 33 | tr -d '\n' >phrase
make_kek plain
openssl pkcs8 -topk8 -in plain.pem -out kek.pem -passout file:phrase -v2 aes-256-cbc
mv plain.pub kek.pub
number plain.pem prime1 >first
number plain.pem prime2 >second
number plain.pem privateExponent >exponent
# An exponent may begin with zeros, which openssl leaves out.
assert_eq "$(stat -c %s first second | tr '\n' ' ')" "192 192 "
(($(stat -c %s exponent) > 370)) || fail "the exponent is too short"

vaultctl init -q vault --name v
record p1 kek LinuxPassPhraseFileName >r1.json
"$_tool/volumes" lun1=bl >bl.json 2>/dev/null
id=$(jq -r '.volumes[0].encryption.keyIds[0]' bl.json)
record key.BEK kek "${id^^}.BEK" >r2.json
vaultctl backup -q vault vm -d os=one -d lun0=two -d lun1=bl \
	--escrow os=r1.json --escrow lun1=r2.json
point=mnt/v/vm/latest
kept=(k1a=k1.first k1b=k1.second k2a=k2.first k2b=k2.second p1=p1 p2=p2 bek=bek
	prime1=first prime2=second exponent=exponent)
# The search knows each by any 16 bytes of it.
secrets=("${kept[@]}" phrase=phrase:nowhere)

mount_all() {
	mount_vault -vv --kek kek.pem,pass-file=phrase -P p2 vault mnt
	assert_eq "$(jq -r '[.volumes[] | .name + "=" + .state] | join(" ")' \
		$point/volumes/volumes.json)" "lun0=open lun1=open os=open"
	cat $point/volumes/*.img >bytes
	# Open while it is searched.
	exec 5<$point/volumes/os.img
	head -c 1M <&5 >bytes
}
umount_all() {
	exec 5<&-
	umount_vault mnt
}

mount_all
# The memory of a sanitizer is too large to be searched; what is shown is not.
if [[ ! $SAN ]]; then
	search_mem mnt "${secrets[@]}"
	nothing
fi

# --- what it shows

mkdir shown
cat $point/volumes/volumes.json >shown/volumes.json
for f in "$point"/escrow/*.json; do
	cat "$f" >"shown/${f##*/}"
done
assert_eq "$(ls shown | tr '\n' ' ')" "1-os.json 2-lun1.json volumes.json "
find mnt -name '*.json' -exec cat {} + >shown/all-json
getfattr -PRd -m - mnt >shown/xattrs 2>/dev/null
assert_contains "$(cat shown/xattrs)" user.vaultfs
cp "$(daemon_log mnt)" shown/log
assert_contains "$(cat shown/log)" "a key is derived"
tr '\0' '\n' <"/proc/$(daemon_pid mnt)/cmdline" >shown/arguments
tr '\0' '\n' <"/proc/$(daemon_pid mnt)/environ" >shown/environment
says() {
	said=$((said + 1))
	"$@" >shown/said-$said.out 2>shown/said-$said.err || :
}
said=0
keys=(--kek 'kek.pem,pass-file=phrase' --password-file p2)
says vaultkey check --json vault "${keys[@]}"
assert_eq "$(jq -r '[.volumes[].state] | join(" ")' shown/said-1.out)" "opens opens opens"
says vaultkey check vault "${keys[@]}"
says vaultctl show --json vault vm latest
says vaultkey unwrap --json r1.json --kek kek.pem,pass-file=phrase --out unwrapped
assert_same unwrapped p1
# Refused: the wrong passphrase, the wrong key.
says vaultkey check vault --kek kek.pem,pass-file=p1
says vaultkey check vault -P phrase --bek p1
umount_all
cp shown/log shown/log-1
run_ok search files "${kept[@]}" phrase=phrase -- shown/*

# --- controls: each secret in each form, in files and in memory

mkdir leaks
search forms leaks "${kept[@]}" phrase=phrase
run_fails -l any 1 search files "${kept[@]}" phrase=phrase -- leaks/*
ls leaks | sed 's/\./ /' | sort >all
# all_found WHERE: each is among what was found there.
all_found() {
	grep -F "$1" <<<"$OUT" | cut -d ' ' -f 1,2 | sort -u >found
	comm -23 all found >missed
	[[ ! -s missed ]] || fail "not found: $(tr '\n' ';' <missed)"
}
all_found leaks/
[[ ! $SAN ]] || exit 0
for how in LEAK_DIR LEAK_LOCK LEAK_DUMP; do
	export LD_PRELOAD="$BUILD/tests/preload/leak.so" "$how=$PWD/leaks"
	mount_all
	unset LD_PRELOAD $how
	search_mem mnt "${secrets[@]}"
	assert_eq "$CODE" 1 "$how"
	umount_all
	[[ $how == LEAK_DIR ]] && all_found '[heap]'
	[[ $how == LEAK_DIR ]] || for s in "${kept[@]}"; do
		grep -qE "^${s%=*} (raw|reversed) " <<<"$OUT" || fail "$how: $s was not found"
	done
done
