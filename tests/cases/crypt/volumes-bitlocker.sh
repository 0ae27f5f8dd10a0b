#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# BitLocker volumes: what opens them, and what they read as; two that Windows made.
# long: a whole volume of each cipher; unit/bitlocker and keys/mount open some
. "$SRC/tests/lib.sh"
. "$SRC/tests/volumes.sh"
require mke2fs jq openssl xz

mkdir root
make_image root/file 300K 1
make_fs clear 4M root -L data
passphrase p1 one
make_kek kek1
make_kek kek2
record p1 kek1 LinuxPassPhraseFileName >r1.json

# --- BitLocker

head -c 4M clear >volume
cp volume bl
recovery=363770-230505-096371-652674-567006-579150-291038-408111
"$_tool/mkbitlocker" -m 8005 -k key.BEK -r $recovery bl
chmod 600 key.BEK
cp volume want
"$_tool/mkbitlocker" -m 8005 -k x.BEK -r $recovery -z want
volumes lun0=bl
id=$(row lun0 '.encryption.keyIds[0]')
record key.BEK kek1 "${id^^}.BEK" >rb.json
record key.BEK kek2 "11111111-2222-3333-4444-555555555555.BEK" >rc.json
printf '%s\n' ${recovery//-/ } | paste -sd ' ' >recovery
chmod 600 recovery
for with in "-b key.BEK" "-p recovery" "-r =rb.json -k kek1.pem"; do
	# shellcheck disable=SC2086
	volumes $with lun0=bl
	assert_eq "$(states)" lun0=open "$with"
	# shellcheck disable=SC2086
	assert_volume lun0 want $with lun0=bl
done
# The one whose name is that of a protector is tried first.
volumes -r =r1.json -r =rc.json -r lun3=rb.json -k kek1.pem -k kek2.pem lun0=bl
assert_eq "$(states) $DERIVED" "lun0=open 1"
cp volume suspended
"$_tool/mkbitlocker" -c suspended
volumes lun0=suspended
assert_eq "$(states)" lun0=open
assert_contains "$(row lun0 .openedBy)" "it is suspended"

# --- made by Windows

data=$SRC/../shared/data/bitlocker
[[ -d $data ]] || exit 0
xz -dc "$data/bitlk-aes-xts-128-startup-key.img.xz" >w1
cp "$data"/*.BEK w1.BEK
chmod 600 w1.BEK
"$_tool/volumes" -o lun0 -b w1.BEK lun0=w1 2>/dev/null | sha256sum >sum
assert_contains "$(cat sum)" bbb68369d8f7badb2c2330349d9d0cf12e68f54eece25e718d2bb13feba23f7a
xz -dc "$data/bitlk-aes-xts-256.img.xz" >w2
printf anaconda >w2.pass
chmod 600 w2.pass
"$_tool/volumes" -o lun0 -p w2.pass lun0=w2 2>/dev/null | sha256sum >sum
assert_contains "$(cat sum)" 5bb6ff5acbded10be990c6fa208ab479934a08bc2e88740a1aa2642af2f42025
