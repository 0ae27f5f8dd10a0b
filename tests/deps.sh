#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# deps.sh NAME...: makes sure that what is named is there. A NAME is a group
# (build, check, vm, lint, fuzz, bench, bench-remote) or a pkg-config module. On Debian and
# Ubuntu the missing packages are installed by apt; elsewhere they are listed.
# Quiet, and quick, when nothing is missing.
set -euo pipefail

# What Debian calls the package in which a command is, where the names differ.
declare -A package_of=(
	[cc]=gcc
	[pkg-config]=pkg-config
	[fusermount3]=fuse3
	[getfattr]=attr
	[filefrag]=e2fsprogs
	[ar]=binutils
	[clang]=clang
	[borg]=borgbackup
	[flock]=util-linux
	[nghttpx]=nghttp2-proxy
	[dislocker-file]=dislocker
	[bdemount]=libbde-utils
	[qemu-img]=qemu-utils
	[cryptsetup]=cryptsetup-bin
	[xz]=xz-utils
	[node]=nodejs
	[mkfs.fat]=dosfstools
	[mkntfs]=ntfs-3g
	[softhsm2-util]=softhsm2
	[pkcs11-engine]=libengine-pkcs11-openssl
	[qemu-system-x86_64]=qemu-system-x86
	[busybox]=busybox-static
	[modprobe]=kmod
	[mkfs.xfs]=xfsprogs
	[mke2fs]=e2fsprogs
	[blkid]=util-linux
	[losetup]=mount
	[cmp]=diffutils
	[lvm]=lvm2
	[strip]=binutils
	[sfdisk]=fdisk
	[debugfs]=e2fsprogs
	[mkswap]=util-linux
)
declare -A package_of_module=(
	[fuse3]=libfuse3-dev
	[libzstd]=libzstd-dev
	[json-c]=libjson-c-dev
	[libcrypto]=libssl-dev
	[libcurl]=libcurl4-openssl-dev
	[libcryptsetup]=libcryptsetup-dev
	[devmapper]=libdevmapper-dev
	[blkid]=libblkid-dev
	[ext2fs]=libext2fs-dev
	[com_err]=comerr-dev
)
# A name with ? is wanted, not needed: the tests that use it skip without it.
declare -A group=(
	[build]="cc ar pkg-config headers"
	[check]="python3 openssl ?curl ?fusermount3 ?getfattr ?jq ?mandoc ?strace ?xz ?qemu-img ?dislocker-file ?bdemount ?cryptsetup ?softhsm2-util ?pkcs11-engine ?mkfs.fat ?mkntfs ?sfdisk ?mke2fs ?debugfs ?py-zstandard ?py-cryptography ?nghttpx"
	[vm]="qemu-system-x86_64 busybox modprobe strip cryptsetup qemu-img openssl dmsetup lvm mke2fs mkfs.xfs blkid fusermount3 mount losetup cmp"
	[lint]="clang-format shellcheck mandoc cppcheck git python3"
	[fuzz]="clang libfuzzer"
	[azure]="node npm python3"
	[s3]="python3"
	[bench]="python3 ?restic ?borg ?casync ?dislocker-file ?bdemount ?cryptsetup"
	[bench-remote]="python3 ?rclone ?s3backer"
)

have() {
	case $1 in
	pkcs11-engine) openssl engine -t pkcs11 >/dev/null 2>&1 ;;
	headers) echo '#include <stdio.h>' | cc -E - >/dev/null 2>&1 ;;
	py-*)
		# Of the system's python3, or of another that comes first.
		/usr/bin/python3 -c "import ${1#py-}" >/dev/null 2>&1 ||
			python3 -c "import ${1#py-}" >/dev/null 2>&1
		;;
	# Clang's own run time comes in a package apart.
	libfuzzer)
		echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' |
			clang -fsanitize=fuzzer,address -x c -o /dev/null - \
				>/dev/null 2>&1
		;;
	*) PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null 2>&1 ;;
	esac
}

package() {
	case $1 in
	headers) echo libc6-dev ;;
	py-*) echo "python3-${1#py-}" ;;
	libfuzzer)
		# Named after a version, which is known once clang is there.
		if have clang; then
			echo "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev"
		else
			echo clang
		fi
		;;
	*) echo "${package_of[$1]:-$1}" ;;
	esac
}

# Sets needed and wanted to the packages of what is not there.
look() {
	local name thing
	needed=() wanted=()
	for name; do
		if [[ -v group[$name] ]]; then
			for thing in ${group[$name]}; do
				have "${thing#\?}" && continue
				case $thing in
				\?*) wanted+=("$(package "${thing#\?}")") ;;
				*) needed+=("$(package "$thing")") ;;
				esac
			done
		elif ! pkg-config --exists "$name" 2>/dev/null; then
			needed+=("${package_of_module[$name]:-$name}")
		fi
	done
	# Two commands may be in one package.
	readarray -t needed < <(printf '%s\n' "${needed[@]}" | sort -u | grep .)
	readarray -t wanted < <(printf '%s\n' "${wanted[@]}" | sort -u | grep .)
}

# Says what is missing; its exit code tells whether we can go on without.
report() {
	((${#wanted[@]})) && echo "$1, tests will skip: ${wanted[*]}" >&2
	((${#needed[@]})) || return 0
	echo "$1, needed: ${needed[*]}" >&2
	return 1
}

look "$@"
((${#needed[@]} + ${#wanted[@]})) || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
	report "missing (by the Debian name of the package)" && exit 0
	echo "install it with this system's own tools, then try again" >&2
	exit 1
fi

as_root=()
if ((EUID != 0)); then
	if ! command -v sudo >/dev/null 2>&1; then
		report "missing" && exit 0
		echo "as root: apt-get install ${needed[*]} ${wanted[*]}" >&2
		exit 1
	fi
	as_root=(sudo)
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq \
		-o DPkg::Lock::Timeout=300 "$@" >>"$log" 2>&1
}
install() {
	(($#)) || return 0
	apt install -y --no-install-recommends "$@" || tail -n 20 "$log" >&2
}
echo "installing by apt: ${needed[*]} ${wanted[*]}" >&2
# An update that fails (no network, one stale mirror) is no reason to stop: the
# lists at hand may do.
apt update || true
# Twice: some names are known only after the first round.
for _ in 1 2; do
	install "${needed[@]}"
	install "${wanted[@]}"
	look "$@"
	((${#needed[@]})) || break
done
report "still missing"
