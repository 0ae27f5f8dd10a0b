#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Where restore writes, and what it refuses to.
. "$SRC/tests/lib.sh"

make_image --holes a.img 7M 1
make_image b.img 1000000 2
vaultctl init -q vault
vaultctl backup -q vault vm -d a=a.img -d b=b.img

none_left() {
	assert_eq "$(find . -name '.*vaultfs*')" "" "left over"
}

# A directory that is there, one that is made, a file, a disk of its own.
mkdir dir
run_ok vaultctl restore vault vm latest --to dir
assert_same dir/a.img a.img
assert_same dir/b.img b.img
run_ok vaultctl restore vault vm latest --to made/ -d b
assert_eq "$(ls made)" b.img
run_ok vaultctl restore vault vm latest --to one.img -d a
assert_same one.img a.img
none_left

run_fails 1 vaultctl restore vault vm latest --to two.img
assert_contains "$ERR" "2 disks"
run_fails 1 vaultctl restore vault vm latest --to - 
run_fails 1 vaultctl restore vault vm latest --to nowhere/x.img -d a
assert_contains "$ERR" "nowhere"
run_fails 1 vaultctl restore vault vm latest --to /dev/null -d a
assert_contains "$ERR" "/dev/null"
run_fails 1 vaultctl restore vault vm latest --to dir -d c
assert_contains "$ERR" "no disk 'c'"
run_fails 1 vaultctl restore vault vm 1999 --to x.img
assert_contains "$ERR" "no recovery point '1999'"
run_fails 1 vaultctl restore vault other latest --to x.img
assert_contains "$ERR" "no VM 'other'"
none_left

# What is there stays as it is, unless it is to be replaced.
echo mine >mine.img
run_fails 1 vaultctl restore vault vm latest --to mine.img -d a
assert_contains "$ERR" "mine.img"
assert_contains "$ERR" "--force"
assert_eq "$(cat mine.img)" mine
ln -s mine.img link.img
run_fails 1 vaultctl restore vault vm latest --to link.img -d a
none_left
run_ok vaultctl restore vault vm latest --to mine.img -d a --force
assert_same mine.img a.img
assert_eq "$(stat -c %a one.img)" 600

# Nothing to go on from is no failure; a file that is complete is not written again.
run_ok vaultctl restore vault vm latest --to fresh.img -d a --resume
assert_same fresh.img a.img
run_fails 1 vaultctl restore vault vm latest --to fresh.img -d a --resume
assert_contains "$ERR" "already"

# A partial file of something else is not gone on with.
cp b.img .again.img.vaultfs-partial
printf 'vaultfs-restore 2\nsomething else\n\n999999\nend\n' >.again.img.vaultfs-progress
run_ok vaultctl restore vault vm latest --to again.img -d b --resume
assert_contains "$ERR" "from the start"
assert_same again.img b.img
# Nor with a torn or foolish journal.
for text in '' garbage 'vaultfs-restore 2\nx\n\n5' 'vaultfs-restore 2\nx\n\n99999999999999\nend\n'; do
	head -c 1000000 /dev/urandom >.again.img.vaultfs-partial
	printf '%b' "$text" >.again.img.vaultfs-progress
	run_ok vaultctl restore vault vm latest --to again.img -d b --resume --force
	assert_same again.img b.img
done
none_left

# Two at once into one file: the second is told.
exec 9>.busy.img.vaultfs-partial
flock 9
run_fails 1 vaultctl restore vault vm latest --to busy.img -d a
assert_contains "$ERR" "another restore"
exec 9>&-

# Holes are holes.
truncate -s 64M sparse.img
printf x | dd of=sparse.img bs=1 seek=30000000 conv=notrunc status=none
run_ok vaultctl backup vault sparse -d d=sparse.img
run_ok vaultctl restore vault sparse latest --to sparse.out
assert_same sparse.out sparse.img
(($(stat -c %b sparse.out) <= 256)) || fail "$(stat -c %b sparse.out) blocks"
(($(stat -c %b one.img) * 512 < 7 << 20)) || fail "no holes in one.img"

# A reader who goes away is no crash.
vaultctl restore vault sparse latest --to - | head -c 1000 >/dev/null || :
