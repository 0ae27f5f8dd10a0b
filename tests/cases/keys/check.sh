#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# timeout: 180
#
# vaultkey check: a state for each volume, the exit codes, and one derivation for all
# the points that have a header and a record in common.
# long: derives many keys
. "$SRC/tests/lib.sh"
. "$SRC/tests/volumes.sh"
require cryptsetup jq mke2fs sfdisk

check() { vaultkey check "$@"; }
# states POINT: "volume=state ..." of the JSON in OUT.
of() {
	jq -r --arg p "$1" '[.volumes[] | select(.point | startswith($p)) |
		.volume + "=" + .state] | join(" ")' <<<"$OUT"
}

make_kek kek
make_kek other
passphrase bek 1
passphrase wrong 2
key_file vk 1
mkdir tree
echo hello >tree/hello
make_fs boot.fs 4M tree
make_fs root.fs 8M tree
luks root.img 2 vk bek root.fs
gpt_disk os.img boot.fs root.img
record bek kek LinuxPassPhraseFileName >record.json
record wrong kek LinuxPassPhraseFileName >wrong.json

vaultctl init -q vault
backup() { vaultctl backup -q vault web-01 -d os=os.img -t "$@"; }
# Three points of one header and one record; one with no record; one with the key of
# another volume; one of a damaged file system; one of noise for a header.
for day in 1 2 3; do
	printf %s $day | dd of=os.img bs=1 seek=$((20 << 20)) conv=notrunc status=none
	backup 2026-01-0${day}T00:00:00Z --escrow os=record.json
done
backup 2026-01-04T00:00:00Z
backup 2026-01-05T00:00:00Z --escrow os-p2=wrong.json

run_ok check vault web-01 2026-01-01 --kek kek.pem
assert_contains "$OUT" "opens"
! grep -q ' $' <<<"$OUT" || fail "blanks at the end of a line: $OUT"
run_ok check --json vault web-01 2026-01-01 -k kek.pem
assert_eq "$(of 2026-01-01)" "os-p1=clear os-p2=opens"
assert_eq "$(jq -c '[.points, .open, .cannot, .unknown, .derivations]' <<<"$OUT")" \
	'[1,2,0,0,1]'

run_fails -l any 1 vaultkey check --json vault -k kek.pem
assert_contains "$ERR" "2 of 10 volumes cannot be opened"
for day in 1 2 3; do
	assert_eq "$(of 2026-01-0$day)" "os-p1=clear os-p2=opens"
done
assert_eq "$(of 2026-01-04)" "os-p1=clear os-p2=no-record"
assert_eq "$(of 2026-01-05)" "os-p1=clear os-p2=wrong-key"
# Once for the record, and once in vain for the wrong one.
assert_eq "$(jq .derivations <<<"$OUT")" 2

# Without the KEK, or with another.
run_fails -l any 1 vaultkey check --json vault web-01 2026-01-01
assert_eq "$(of 2026-01-01)" "os-p1=clear os-p2=kek-missing"
run_fails -l any 1 vaultkey check --json vault web-01 2026-01-01 -k other.pem
assert_eq "$(of 2026-01-01)" "os-p1=clear os-p2=kek-missing"
assert_contains "$OUT" "https://kv.vault.azure.net/keys/kek/"
# The key itself does as well.
run_ok check --json vault web-01 2026-01-04 --bek bek
assert_eq "$(of 2026-01-04)" "os-p1=clear os-p2=opens"
run_fails -l any 1 vaultkey check --json vault web-01 2026-01-04 --bek wrong
assert_eq "$(of 2026-01-04)" "os-p1=clear os-p2=wrong-key"

# The key is right and what it decrypts is nothing that is known: not open, and not known to
# be damaged either.
truncate -s 8M zeros
luks noise.img 2 vk bek zeros
vaultctl backup -q vault noise -d data=noise.img --escrow data=record.json
run_fails -l any 3 vaultkey check --json vault noise -k kek.pem
assert_eq "$(of 2)" "data=unknown"
assert_contains "$OUT" "its key is right, but no file system"

# --escrow-to wraps anew for each point: the records differ, the key in them does not.
for day in 1 2 3; do
	vaultctl backup -q vault fresh -d os=os.img -t 2026-01-0${day}T00:00:00Z \
		--escrow os=record.json --escrow-to other.pub --kek kek.pem
done
for k in kek other; do
	run_ok check --json vault fresh -k $k.pem
	assert_eq "$(jq -c '[.points, .open, .derivations]' <<<"$OUT")" '[3,6,1]'
done

# A header that lies elsewhere is given, for one VM or for all.
luks_detached header apart.img 2 vk bek root.fs
backup_apart() { vaultctl backup -q vault "$1" -d data=apart.img --escrow data=record.json; }
backup_apart apart
backup_apart apart-2
run_ok check --json vault apart -k kek.pem
assert_eq "$(of 2)" "data=clear"
run_ok check --json vault apart -k kek.pem --header apart/data=header
assert_eq "$(of 2)" "data=opens"
run_ok check --json vault apart-2 -k kek.pem -H apart/data=header
assert_eq "$(of 2)" "data=clear"
run_ok check --json vault apart-2 -k kek.pem -H data=header
assert_eq "$(of 2)" "data=opens"
run_fails 2 vaultkey check vault apart -H header
assert_contains "$ERR" "[VM/]VOLUME=FILE"

# What cannot be found out is another exit code: the vault's owner is not pinned, so
# the records are not tried.
mkdir elsewhere
VAULTFS_CONFIG_DIR=$PWD/elsewhere run_fails -l any 3 \
	vaultkey check --json vault web-01 2026-01-01 -k kek.pem
assert_eq "$(of 2026-01-01)" "os-p1=clear os-p2=unknown"
assert_contains "$OUT" "--trust-unsealed"
VAULTFS_CONFIG_DIR=$PWD/elsewhere run_ok \
	vaultkey check --json vault web-01 2026-01-01 -k kek.pem --trust-unsealed
# A LUKS1 header proves as little of itself as one that lies elsewhere: neither is tried
# with records of anybody's.
luks one.img 1 vk bek root.fs
vaultctl backup -q vault one -d data=one.img -d apart=apart.img --escrow =record.json
unpinned() {
	VAULTFS_CONFIG_DIR=$PWD/elsewhere vaultkey check --json vault one -k kek.pem \
		-H apart=header "$@"
}
run_fails -l any 3 unpinned
assert_eq "$(of 2)" "apart=unknown data=unknown"
run_ok unpinned --trust-unsealed
assert_eq "$(of 2)" "apart=opens data=opens"
assert_eq "$(jq -c '[.volumes[] | .openedBy] | unique' <<<"$OUT")" \
	'["escrow record 1, LinuxPassPhraseFileName"]'
run_fails 2 vaultkey check
run_fails 1 vaultkey check nothing
run_fails 1 vaultkey check tree
