# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
#
# Sourced by the cases of tests/vm, after the library of all cases. DATA is what
# prepare.sh made.

. "$SRC/tests/lib.sh"
export PATH=$PATH:/usr/sbin:/sbin
DATA=/vm/data
# The keys that the vault was made with, whose owner's key is pinned.
export XDG_CONFIG_HOME=$DATA/own/config XDG_STATE_HOME=$DATA/own/state
unset HOME

# do_mount LINE DIR: runs a line that vaultkey gave, on a directory of ours.
do_mount() {
	[[ $1 == "mount "*" /mnt" ]] || fail "no mount line: $1"
	mkdir -p "$2"
	# shellcheck disable=SC2086
	${1% /mnt} "$2"
}

# mount_line VOLUME: of what vaultkey open --json printed, in OUT.
mount_line() {
	field "$1" mount
}

# field VOLUME KEY: of what vaultkey open --json printed, in OUT.
field() {
	awk -v volume="\"$1\"" -v key="\"$2\":" '
	$1 == "\"volume\":" { on = index($2, volume) == 1 }
	on && $1 == key {
		sub(/^[^:]*: */, "")
		sub(/,$/, "")
		gsub(/^"|"$/, "")
		print
		exit
	}' <<<"$OUT"
}

# nothing_is_left: no device, no loop, no record.
nothing_is_left() {
	assert_eq "$(dmsetup ls | grep -v '^No devices' || :)" "" "devices"
	assert_eq "$(losetup -a)" "" "loops"
	assert_eq "$(ls /run/vaultfs 2>/dev/null || :)" "" "records"
}
