#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# kernel.sh DIR: makes sure that Debian's kernel is in DIR: vmlinuz, and tree/
# with its modules. It is taken out of its package and not installed, so that
# nothing of this machine changes.
set -euo pipefail

dir=$1
mkdir -p "$dir"
[[ -e $dir/vmlinuz && -e $dir/version ]] && exit 0

command -v apt-get >/dev/null || {
	echo "the kernel is taken from Debian's package, by apt" >&2
	exit 77
}
look() {
	name=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null |
		sed -nE 's/.*Depends: (linux-image-[0-9].*)/\1/p' | head -n 1)
	[[ $name ]]
}
as_root=()
((EUID == 0)) || as_root=(sudo)
# Its lists may have been removed.
look || "${as_root[@]}" apt-get -qq update >&2 || :
look || {
	echo "apt knows no linux-image-cloud-amd64" >&2
	exit 1
}
new=$(mktemp -d "$dir/new.XXXXXX")
trap 'rm -rf "$new"' EXIT
chmod 755 "$new"
(cd "$new" && apt-get -qq -o APT::Sandbox::User=root download "$name") >&2
dpkg-deb -x "$new/$name"_*.deb "$new/tree"
version=${name#linux-image-}
# depmod looks for them where newer systems have them too.
depmod -b "$new/tree" "$version"
rm -rf "$dir/tree"
mv "$new/tree" "$dir/tree"
mv "$dir/tree/boot/vmlinuz-$version" "$dir/vmlinuz"
echo "$version" >"$dir/version"
