#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The command line: wrong ones, -o in all its forms, what the options do.
. "$SRC/tests/lib.sh"
require_fuse

make_image a.img 64K
for v in a b; do
	vaultctl init -q $v --name $v
	vaultctl backup -q $v vm -d os=a.img
done
mkdir mnt

# wrong TEXT ARG...
wrong() {
	local text=$1
	shift
	run_fails 2 vaultfs "$@"
	assert_contains "$ERR" "$text"
	assert_contains "$ERR" "(try 'vaultfs --help')"
}
wrong "VAULT is missing"
wrong "VAULT or MOUNTPOINT is missing" a
wrong "MOUNTPOINT is missing" -o vault=a
wrong "VAULT is empty" '' mnt
wrong "MOUNTPOINT is empty" a ''
wrong "-x is no option" -x a mnt
wrong "--bogus is no option" --bogus a mnt
wrong "--foreground=3 takes no value" --foreground=3 a mnt
wrong "needs a value" a mnt --log
wrong "-o needs a value" a mnt -o
wrong "'frob' is no mount option" -o frob a mnt
wrong "'frob=1' is no mount option" -o ro,frob=1 a mnt
wrong "-o uid" -o uid=me a mnt
wrong "-o umask" -o umask=9 a mnt
wrong "-o vault needs a value" -o vault a mnt
wrong "VAULT is empty" -o vault= a mnt
wrong "--cache-size" --cache-size lots a mnt
wrong "--refresh" --refresh soon a mnt
wrong "--refresh" -o refresh=2000000 a mnt
wrong "-o rw: a vault is always mounted read-only" -o rw a mnt
run_ok vaultfs --version
assert_contains "$OUT" "vaultfs "
run_ok vaultfs --help
assert_contains "$OUT" "usage: vaultfs"

# As mount.fuse3 calls it.
mount_vault -o vault=a,vault="$PWD/b" mnt
assert_eq "$(ls mnt)" "a
b"
umount_vault mnt
mount_vault a mnt
umount_vault mnt
rmdir mnt
mkdir mnt
fstab_style() {
	vaultfs "$@" -f >log 2>&1 &
	pid=$!
	wait_until 20 is_mounted mnt
	ls mnt
	fusermount3 -u mnt
	wait $pid
}
assert_eq "$(fstab_style a mnt -o rw,dev,suid)" a
assert_eq "$(fstab_style vaultfs mnt -o \
	rw,noexec,nosuid,nodev,vault=a,vault=dir:b,cache_size=1M,refresh=3s,noauto,_netdev,user,nofail,x-systemd.automount,comment=x)" \
	"a
b"

mount_vault -o uid=12,gid=34,umask=027,fsname=a\\,b,noatime,subtype=x a mnt
assert_eq "$(stat -c '%u %g %a' mnt/a)" "12 34 550"
assert_eq "$(stat -c '%u %g %a' mnt/a/vault.json 2>/dev/null || echo denied)" \
	"$( ((EUID == 0)) && echo '12 34 440' || echo denied)"
assert_contains "$(cat /proc/self/mountinfo)" "- fuse.vaultfs a,b ro"
umount_vault mnt
mount_vault a mnt
assert_contains "$(cat /proc/self/mountinfo)" "- fuse.vaultfs $(vault_url a) ro"
umount_vault mnt

# A pin where one is asked for: pinned by init, or refused, by either spelling. A
# vault that was swapped for one with an id of its own has none.
mount_vault -o require_pin a mnt
umount_vault mnt
mkdir elsewhere
for how in "-o require_pin" --require-pin "-o vault=b,require_pin"; do
	# shellcheck disable=SC2086
	run_fails 1 env VAULTFS_CONFIG_DIR="$PWD/elsewhere" vaultfs -f $how a mnt
	assert_contains "$ERR" "no owner key is pinned"
	assert_contains "$ERR" "vaultctl key pin"
	is_mounted mnt && fail "mounted without a pin: $how"
done
run_ok env VAULTFS_CONFIG_DIR="$PWD/elsewhere" vaultctl key pin a
VAULTFS_CONFIG_DIR=$PWD/elsewhere mount_vault --require-pin a mnt
umount_vault mnt
env VAULTFS_CONFIG_DIR="$PWD/third" vaultctl init -q swapped --name a
vault_out a
vault_out swapped
mv a a.aside
mv swapped a
vault_in a
run_fails 1 vaultfs -f -o require_pin a mnt
assert_contains "$ERR" "no owner key is pinned"
rm -rf a
mv a.aside a
vault_in a

# In the background: when it returns, it works; it is then in "/", and holds no
# terminal and no pipe open. Relative names still mean what they did.
run_ok vaultfs --log run.log -v a mnt
assert_eq "$OUT$ERR" ""
assert_same mnt/a/vm/latest/disks/os.img a.img
fusermount3 -u mnt
ended() {
	grep -q unmounted run.log
}
wait_until 20 ended
assert_contains "$(cat run.log)" "vaultfs: mounted"
run_fails 1 vaultfs --log nowhere/log a mnt
assert_contains "$ERR" "nowhere/log"
is_mounted mnt && fail "mounted without its log"

# A line for each request, and no end of it.
mount_vault -d a mnt
ls mnt/a >/dev/null
assert_contains "$(cat "$(daemon_log mnt)")" LOOKUP
umount_vault mnt
