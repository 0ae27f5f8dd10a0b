#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# How a mount ends: a signal, with and without open files; fusermount3 -u while it is
# busy; a lazy unmount.
. "$SRC/tests/lib.sh"
require_fuse

make_image a.img 3M
vaultctl init -q vault --name v
vaultctl backup -q vault vm -d os=a.img
disk=mnt/v/vm/latest/disks/os.img

for signal in TERM INT HUP; do
	# A shell's background child ignores SIGINT, and so would what it starts.
	if [[ $signal == INT ]]; then
		mkdir -p mnt
		python3 -c 'import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])' vaultfs -f vault mnt &
		pid=$!
		wait_until 20 is_mounted mnt
		kill -INT $pid
		wait $pid || fail "exit code $? after SIGINT"
	else
		mount_vault vault mnt
		cat $disk >/dev/null
		kill -"$signal" "$(daemon_pid mnt)"
		wait_daemon mnt
	fi
	is_mounted mnt && fail "still mounted after SIG$signal"
done

# With a file and a directory open.
mount_vault vault mnt
exec 5<$disk 6<mnt/v
head -c 100 <&5 >/dev/null
run_fails 1 fusermount3 -u mnt
assert_contains "$ERR" busy
assert_same $disk a.img
kill -TERM "$(daemon_pid mnt)"
wait_daemon mnt
is_mounted mnt && fail "still mounted"
# What the kernel has it still gives.
cat <&5 >rest 2>/dev/null || :
cmp -n "$(stat -c %s rest)" rest <(tail -c +101 a.img)
exec 5<&- 6<&-

# While it is being read.
mount_vault vault mnt
(while cat $disk; do :; done) >/dev/null 2>&1 &
reader=$!
sleep 0.2
kill -TERM "$(daemon_pid mnt)"
wait_daemon mnt
wait $reader || :
is_mounted mnt && fail "still mounted"

# Lazily: what is open stays readable, and then the program ends.
mount_vault vault mnt
exec 5<$disk
fusermount3 -uz mnt
is_mounted mnt && fail "still mounted"
cmp - a.img <&5
kill -0 "$(daemon_pid mnt)" || fail "it ended while a file was open"
exec 5<&-
wait_daemon mnt

# From outside.
mount_vault vault mnt
if ((EUID == 0)); then
	umount mnt
else
	fusermount3 -u mnt
fi
wait_daemon mnt
