#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The demo: a vault with three VMs and several points, mounted, read, restored, verified; then
# two VMs that are encrypted inside, opened with the escrowed key. Prints each command before it
# runs it. Everything lies in a private directory, which is removed at the end. Exit code 1 on
# any difference. Called by `make demo`, which gives BUILD.
set -euo pipefail
shopt -s inherit_errexit

here=$(cd "$(dirname "$0")/.." && pwd)
PATH=$(cd "${BUILD:-$here/build}" && pwd):$PATH:/usr/sbin:/sbin
top=$(mktemp -d "${TMPDIR:-/tmp}/vaultfs-demo.XXXXXX")
export LC_ALL=C.UTF-8 TZ=UTC
# The demo's own keys, and not a trace of it in the user's.
export VAULTFS_CONFIG_DIR=$top/config VAULTFS_STATE_DIR=$top/state
cd "$top"

mounted=''
finish() {
	local code=$?
	trap - EXIT
	cd /
	if [[ $mounted ]]; then
		fusermount3 -u "$top/mnt" 2>/dev/null ||
			umount "$top/mnt" 2>/dev/null || :
	fi
	rm -rf --one-file-system -- "$top"
	((code == 0)) || echo "demo: FAILED (exit code $code)" >&2
	exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

# note TEXT: what comes next.
note() {
	printf '\n# %s\n' "$*"
}

# run CMD...: shows it and runs it.
run() {
	local word line=''
	for word; do
		[[ $word == *[!A-Za-z0-9_./:=,@%+-]* ]] && word=\'$word\'
		line+=" $word"
	done
	printf '$%s\n' "$line"
	"$@"
}

have() {
	command -v "$1" >/dev/null 2>&1
}

# --- images -----------------------------------------------------------------

# Bytes that no compressor shrinks, the same for the same seed.
pattern() { # SEED BYTES
	local key
	key=$(printf '%s' "$1" | sha256sum | head -c 32)
	head -c "$2" /dev/zero |
		openssl enc -aes-128-ctr -nosalt -K "$key" -iv "${key//[a-f]/0}"
}

# A disk with an ext4 file system of a few files, or with a pattern where there
# is no mkfs.ext4. The same each time.
disk() { # FILE SIZE HOSTNAME
	truncate -s "$2" "$1"
	if ! have mkfs.ext4; then
		pattern "$3" 4000000 | dd of="$1" conv=notrunc status=none
		return
	fi
	mkdir -p tree/etc tree/var/log tree/srv
	echo "$3" >tree/etc/hostname
	printf '%s booted\n' "$3" >tree/var/log/messages
	pattern "$3" 3000000 >tree/srv/data.bin
	find tree -exec touch -d @1790000000 {} +
	E2FSPROGS_FAKE_TIME=1790000000 mkfs.ext4 -q -F -d tree \
		-U 11111111-2222-3333-4444-555555555555 \
		-E hash_seed=11111111-2222-3333-4444-555555555555,root_owner=0:0,lazy_itable_init=0 \
		"$1"
	rm -rf tree
}

# A day's work: one more file in the file system, or a changed piece.
work() { # FILE DAY
	if have mkfs.ext4 && have debugfs; then
		pattern "$2" 200000 >new
		E2FSPROGS_FAKE_TIME=1790000000 debugfs -w -f /dev/stdin "$1" \
			<<<"write new /srv/$2.bin" >/dev/null 2>&1
		rm -f new
	else
		pattern "$2" 200000 |
			dd of="$1" bs=65536 seek=20 conv=notrunc status=none
	fi
}

# --- encrypted disks: made without root, since the headers are cryptsetup's and the
# sectors are encrypted by tools of the tests

. "$here/tests/volumes.sh"

fail() {
	echo "demo: $*" >&2
	exit 1
}

can_encrypt() {
	local tool
	for tool in cryptsetup sfdisk mke2fs debugfs mkntfs ntfscp ntfscat openssl; do
		have $tool || return 1
	done
}

# A Linux VM: a system whose partition is LUKS2, aes-xts; its passphrase as Azure Disk
# Encryption makes them.
linux_disk() { # FILE HOSTNAME PASSPHRASE
	mkdir -p tree/etc
	echo "$2" >tree/etc/hostname
	make_fs clear 8M tree
	key_file volume.key "$2"
	passphrase "$3" "$2"
	luks partition 2 volume.key "$3" clear
	gpt_disk "$1" partition
	rm -rf tree clear partition volume.key
}

# A Windows VM: NTFS in BitLocker, XTS-AES-256; its key file.
windows_disk() { # FILE HOSTNAME KEY-FILE
	truncate -s 7M partition
	mkntfs -F -Q -q -L Windows partition 2>/dev/null
	echo "$2: quarterly figures" >report.txt
	ntfscp -q partition report.txt report.txt 2>/dev/null
	truncate -s 8M partition
	"$BUILD/tests/tools/mkbitlocker" -m 8005 -k "$3" partition
	chmod 600 "$3"
	gpt_disk "$1" partition
	rm -f partition report.txt
}

# Fails where nothing can be mounted, and says why.
fuse_works() {
	local caps
	if ! have fusermount3; then
		echo "fusermount3 is not installed"
	elif [[ ! -e /dev/fuse ]]; then
		echo "there is no /dev/fuse"
	elif ! (exec 3<>/dev/fuse) 2>/dev/null; then
		echo "/dev/fuse may not be opened by you"
	else
		((EUID)) && return 0
		caps=$(sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status)
		((16#$caps >> 21 & 1)) && return 0
		echo "there is no right to mount, CAP_SYS_ADMIN"
	fi
	return 1
}

# --- the demo ---------------------------------------------------------------

note "A new vault"
run vaultctl init vault --name contoso-rsv

note "Three VMs; web-01 on three days, of which each stores only what changed"
disk web-os.img 64M web-01
pattern web-data 3000000 >web-data.img
truncate -s 32M web-data.img
disk db.img 48M db-01
disk dc.img 40M dc-01
cp --sparse=always web-os.img thursday.img
run vaultctl backup vault web-01 --disk os=web-os.img --disk lun0=web-data.img \
	--time 2026-11-19T02:00:07Z --consistency application --label job=nightly
work web-os.img friday
run vaultctl backup vault web-01 --disk os=web-os.img --disk lun0=web-data.img \
	--time 2026-11-20T02:00:07Z --consistency application --label job=nightly
work web-os.img saturday
run vaultctl backup vault web-01 --disk os=web-os.img --disk lun0=web-data.img \
	--time 2026-11-21T02:00:07Z --consistency application --label job=nightly
run vaultctl backup vault db-01 --disk os=db.img --time 2026-11-21T02:10:00Z
run vaultctl backup vault dc-01 --disk os=dc.img --time 2026-11-21T02:20:00Z

note "What is there"
run vaultctl list vault
run vaultctl list vault web-01 --long
run du -sh --apparent-size vault

if why=$(fuse_works); then
	note "Mounted: every point is a directory"
	mkdir mnt
	mounted=1
	run vaultfs vault mnt
	run ls mnt/contoso-rsv mnt/contoso-rsv/web-01
	run ls -R mnt/contoso-rsv/web-01/latest/
	run find mnt -name '*.img'
	note "One file out of Thursday's disk, though nothing was restored"
	if have mkfs.ext4 && have debugfs; then
		run debugfs -R 'cat /etc/hostname' \
			mnt/contoso-rsv/web-01/2026-11-19T02-00-07Z/disks/os.img 2>/dev/null
	fi
	note "Whole images are what was backed up, byte for byte"
	run cmp mnt/contoso-rsv/web-01/2026-11-19T02-00-07Z/disks/os.img thursday.img
	run cmp mnt/contoso-rsv/web-01/latest/disks/os.img web-os.img
	run cmp mnt/contoso-rsv/web-01/latest/disks/lun0.img web-data.img
	run cmp mnt/contoso-rsv/db-01/latest/disks/os.img db.img
	run fusermount3 -u mnt
	mounted=''
else
	note "The mount is left out, since $why: restored instead"
	run vaultctl restore vault web-01 2026-11-19 --disk os --to mounted.img
	run cmp mounted.img thursday.img
fi

note "Restored: all disks of a point, then one as a VHD"
run vaultctl restore vault web-01 latest --to restored/
run cmp restored/os.img web-os.img
run cmp restored/lun0.img web-data.img
run vaultctl restore vault db-01 2026-11-21 --to db.vhd --format vhd
run cmp -n 50331648 db.vhd db.img

note "Friday is not needed any more; what the others share with it stays"
run vaultctl prune vault web-01 2026-11-20
run vaultctl verify vault

if can_encrypt; then
	note "Two VMs that are encrypted inside, by LUKS2 and by BitLocker. The company has a KEK"
	linux_disk web-02.img web-02 web-02.bek
	windows_disk win-01.img win-01 win-01.bek
	run openssl genrsa -out kek.pem 3072 2>/dev/null
	chmod 600 kek.pem
	run openssl rsa -in kek.pem -pubout -out kek.pub 2>/dev/null
	note "Each volume's key (BEK) is wrapped for it: the record is escrowed with the points"
	printf '$ %s\n' "vaultkey escrow --to kek.pub --file-name LinuxPassPhraseFileName <web-02.bek >web-02.json"
	vaultkey escrow --to kek.pub --file-name LinuxPassPhraseFileName --label 'KEK of contoso' \
		<web-02.bek >web-02.json
	printf '$ %s\n' "vaultkey escrow --to kek.pub --file-name win-01.BEK <win-01.bek >win-01.json"
	vaultkey escrow --to kek.pub --file-name win-01.BEK --label 'KEK of contoso' \
		<win-01.bek >win-01.json
	rm -f web-02.bek win-01.bek
	run vaultctl backup vault web-02 --disk os=web-02.img --escrow web-02.json \
		--time 2026-11-21T02:30:00Z
	run vaultctl backup vault win-01 --disk os=win-01.img --escrow win-01.json \
		--time 2026-11-21T02:40:00Z
	if fuse_works; then
		note "With the KEK the volumes are clear files; no root, no device-mapper"
		mkdir -p mnt
		mounted=1
		run vaultfs --kek kek.pem vault mnt
		run ls mnt/contoso-rsv/web-02/latest/volumes mnt/contoso-rsv/win-01/latest/volumes
		run debugfs -R 'cat /etc/hostname' \
			mnt/contoso-rsv/web-02/latest/volumes/os-p1.img 2>/dev/null | tee said
		[[ $(tail -n 1 said) == web-02 ]] || fail "that is not the file that was backed up"
		run ntfscat mnt/contoso-rsv/win-01/latest/volumes/os-p1.img report.txt 2>/dev/null |
			tee said
		[[ $(tail -n 1 said) == 'win-01: quarterly figures' ]] ||
			fail "that is not the file that was backed up"
		run fusermount3 -u mnt
		note "Without it they are locked, and say what is missing"
		run vaultfs vault mnt
		run ls mnt/contoso-rsv/web-02/latest/volumes
		run cat mnt/contoso-rsv/web-02/latest/volumes/os-p1.locked
		run fusermount3 -u mnt
		mounted=''
	fi
	note "Can every point still be opened? Asked without restoring any"
	run vaultkey check vault --kek kek.pem
else
	note "cryptsetup, e2fsprogs, fdisk or ntfs-3g is not here: the encrypted VMs are left out"
fi
echo
echo "demo: all the same, byte for byte ($SECONDS s)"
