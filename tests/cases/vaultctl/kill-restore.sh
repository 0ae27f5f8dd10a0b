#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# kill -9 in a loop during a restore: no file has its name before it is complete, and --resume
# gets there in the end.
# long: programs are killed again and again; unit/writer_faults has each call fail
. "$SRC/tests/lib.sh"

make_image --holes a.img 90M 1
make_image b.img 60M 2
vaultctl init -q vault
vaultctl backup -q vault vm -d a=a.img -d b=b.img

for i in {1..15}; do
	vaultctl restore -q vault vm latest --to out/ --resume 2>err &
	pid=$!
	sleep "0.$(printf %03d $((i * 15)))"
	kill -9 $pid 2>/dev/null || :
	code=0
	wait $pid 2>/dev/null || code=$?
	((code == 137 || code == 0)) || fail "exit code $code: $(cat err)"
	[[ ! -e out/a.img ]] || assert_same out/a.img a.img
	[[ ! -e out/b.img ]] || assert_same out/b.img b.img
	# Killed between the last name and its own end, it has done its work; a
	# journal may be left.
	if [[ -e out/a.img && -e out/b.img ]]; then
		rm -f out/.*.vaultfs-progress
		code=0
	fi
	((code)) || break
done
((code == 0)) || run_ok vaultctl restore vault vm latest --to out/ --resume
assert_same out/a.img a.img
assert_same out/b.img b.img
assert_eq "$(ls -A out)" "a.img
b.img"

# It goes on where the journal says: what is before that is not written again.
show=$(vaultctl show --json vault vm latest)
id=$(sed -n 's/.*"id": "\(.*\)".*/\1/p' <<<"$show")
root=$(sed -n 's/.*"rootHash": "\(.*\)".*/\1/p' <<<"$show" | tail -n 1)
mkdir half
cp b.img half/.b.img.vaultfs-partial
dd if=/dev/zero of=half/.b.img.vaultfs-partial bs=1M seek=40 count=20 \
	conv=notrunc status=none
printf 'vaultfs-restore 2\n%s b %s 62914560 1048576 raw\n\n41943040\nend\n' \
	"$id" "$root" >half/.b.img.vaultfs-progress
run_ok vaultctl restore vault vm latest -d b --to half/b.img --resume --json
assert_contains "$OUT" '"resumedFrom": 41943040'
assert_contains "$OUT" '"writtenBytes": 20971520'
assert_same half/b.img b.img
assert_eq "$(ls -A half)" b.img

# A file that is complete is believed only while it is the one that was restored.
complete() {
	printf 'vaultfs-restore 2\n%s b %s 62914560 1048576 raw\n%s\n62914560\nend\n' \
		"$id" "$root" "$1" >half/.b.img.vaultfs-progress
}
mark() {
	python3 -c 'import os
s = os.stat("half/b.img")
print("%d:%d:%d.%09d" % (s.st_ino, s.st_size, *divmod(s.st_mtime_ns, 10**9)))'
}
old=$(mark)
complete "$old"
run_ok vaultctl restore vault vm latest -d b --to half/b.img --resume --json
assert_contains "$OUT" '"wasDone": true'
printf changed | dd of=half/b.img conv=notrunc status=none
cp half/b.img changed.img
complete "$old"
run_fails 1 vaultctl restore vault vm latest -d b --to half/b.img --resume
assert_contains "$ERR" "b.img was changed since it was restored; remove it or use --force"
assert_same half/b.img changed.img
run_ok vaultctl restore vault vm latest -d b --to half/b.img --resume --force
assert_same half/b.img b.img

# A signal keeps what is there.
mkdir sig
env --default-signal=INT vaultctl restore vault vm latest -d b --to sig/b.img >out.txt 2>err &
pid=$!
while ! [[ -e sig/.b.img.vaultfs-partial ]] && kill -0 $pid 2>/dev/null; do :; done
kill -INT $pid 2>/dev/null || :
code=0
wait $pid || code=$?
if ((code)); then
	assert_eq $code 1
	assert_contains "$(cat err)" "--resume"
	[[ -e sig/.b.img.vaultfs-partial && ! -e sig/b.img ]] || fail "$(ls -A sig)"
fi
