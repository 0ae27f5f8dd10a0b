#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Files of ext2, ext3 and ext4, as mke2fs and debugfs write them; and what volumes hold.
. "$SRC/tests/lib.sh"
require mke2fs debugfs mkswap python3
guest=$BUILD/tests/tools/guest

mkdir -p root/boot/luks root/etc
make_image --holes root/boot/luks/header 3M 1
printf 'hello\n' >root/etc/small
ln -s ../boot/luks/header root/etc/link
ln -s /etc/link root/absolute
ln -s loop root/loop
kinds=("ext2 1024" "ext4 4096")
[[ ! ${CHECK_ALL-} ]] || kinds=("ext2 1024" "ext3 1024" "ext4 1024" "ext4 4096")
for kind in "${kinds[@]}"; do
	read -r fs block <<<"$kind"
	rm -f image
	mke2fs -qF -t "$fs" -b "$block" -L "label $fs" -d root image 16M 2>&1
	for path in /boot/luks/header boot/luks/header /etc/link /absolute; do
		"$guest" cat image "$path" >got
		assert_same got root/boot/luks/header
	done
	assert_eq "$("$guest" cat image /etc/small)" hello
	assert_eq "$("$guest" ls image /etc | sort | tr '\n' ' ')" "link small "
	assert_contains "$("$guest" content image)" "$fs|label $fs|"
	run_fails 1 "$guest" cat image /etc/nothing
	assert_contains "$ERR" "no such file"
	run_fails 1 "$guest" cat image /etc
	assert_contains "$ERR" "is a directory"
	run_fails 1 "$guest" cat image /loop
	run_fails 1 "$guest" ls image /etc/small
done

# Blocks that are set aside and never written read as zeros, whatever lies there.
cp image unwritten
debugfs -w -f - unwritten >log 2>&1 <<-'END'
	fallocate /etc/small 1 3
	set_inode_field /etc/small size 16384
END
{
	echo hello
	head -c 16378 /dev/zero
} >want
"$guest" cat unwritten /etc/small >got
assert_same got want

# Small files may lie in their inode.
mke2fs -q -t ext4 -O inline_data -d root inline 16M
run_fails 1 "$guest" cat inline /etc/small
assert_contains "$ERR" "lies in its inode"

# Damage is told, and no more is asked than there is.
head -c 8M image >short.img
run_fails 1 "$guest" cat short.img /etc/small
assert_contains "$ERR" "more than there are"
# A name in a directory is another one now: its checksum does not match.
python3 - <<'EOF'
data = bytearray(open("image", "rb").read())
data[data.find(b"\6\1header", 4096) + 2] ^= 1
open("damaged", "wb").write(data)
EOF
run_fails 1 "$guest" cat damaged /boot/luks/header
assert_contains "$ERR" "damaged"

# Other contents.
truncate -s 20M swap
mkswap -q -L swp swap 2>/dev/null
assert_contains "$("$guest" content swap)" "swap|swp|"
if command -v mkfs.fat >/dev/null; then
	truncate -s 20M fat
	mkfs.fat -n VOLUME fat >/dev/null
	assert_contains "$("$guest" content fat)" "vfat|VOLUME|"
fi
make_image noise 20M 9
assert_eq "$("$guest" content noise)" "||"
