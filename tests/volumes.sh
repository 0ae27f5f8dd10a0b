# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
#
# Disks with encrypted volumes, made without device-mapper: sourced after lib.sh by the
# cases that need some. The headers are cryptsetup's, the data are encrypted by a
# test tool of ours, sector by sector; derivations are cheap.

_tool=$BUILD/tests/tools
# As much as it takes, so that a volume is small.
_small=(--luks2-metadata-size 16k --luks2-keyslots-size 256k)

# key_file FILE SEED: 64 bytes, the same for the same seed.
key_file() {
	"$_tool/image" "$1" 64 "$2"
}

# passphrase FILE SEED: as Azure Disk Encryption makes them: 172 characters.
passphrase() {
	"$_tool/image" "$1" 127 "passphrase $2"
	base64 -w 0 "$1" >"$1.base64"
	chmod 600 "$1.base64"
	mv -f "$1.base64" "$1"
}

# format_luks HEADER-FILE 1|2 KEY PASS [CRYPTSETUP-OPTION]...
format_luks() {
	local file=$1 version=$2 key=$3 pass=$4
	shift 4
	# shellcheck disable=SC2046
	cryptsetup luksFormat -q --type "luks$version" --volume-key-file "$key" \
		--key-size 512 --cipher aes-xts-plain64 \
		--pbkdf-force-iterations 1000 --use-urandom \
		$([[ $version == 2 ]] && echo --pbkdf pbkdf2 "${_small[*]}") \
		--key-file "$pass" "$@" "$file" >luks.log 2>&1 ||
		fail "cryptsetup: $(cat luks.log)"
}

# luks FILE 1|2 KEY PASS CLEAR [SECTOR]: CLEAR as a volume with its header in place.
luks() {
	local file=$1 version=$2 key=$3 pass=$4 clear=$5 sector=${6:-512}
	local off=$((1 << 20))
	# What LUKS1's key slots take at least.
	((version == 2)) || off=$((2 << 20))
	rm -f -- "$file"
	truncate -s $((off + $(stat -c %s "$clear"))) "$file"
	# shellcheck disable=SC2046
	format_luks "$file" "$version" "$key" "$pass" --offset $((off / 512)) \
		$( ((version == 2)) && echo --sector-size "$sector")
	dd if="$clear" of="$file" bs=1M seek=$((off >> 20)) conv=notrunc status=none
	"$_tool/encrypt" -s "$sector" -o "$off" "$key" "$file"
}

# luks_detached HEADER DATA 1|2 KEY PASS CLEAR: CLEAR as DATA, without any signature,
# and its header as a file.
luks_detached() {
	local header=$1 data=$2 version=$3 key=$4 pass=$5
	rm -f -- "$header"
	truncate -s 4M "$header"
	cp -- "$6" "$data"
	# The header is of a device, which the data's file stands for.
	# shellcheck disable=SC2046
	cryptsetup luksFormat -q --type "luks$version" --volume-key-file "$key" \
		--key-size 512 --cipher aes-xts-plain64 --header "$header" \
		--pbkdf-force-iterations 1000 --use-urandom \
		$([[ $version == 2 ]] && echo --pbkdf pbkdf2 --sector-size 512 "${_small[*]}") \
		--offset 0 --key-file "$pass" "$data" >luks.log 2>&1 ||
		fail "cryptsetup: $(cat luks.log)"
	cmp -s -- "$6" "$data" || fail "cryptsetup wrote to the data"
	"$_tool/encrypt" "$key" "$data"
}

# make_fs FILE SIZE DIR [MKE2FS-OPTION]...: ext4, or FS, with what is in DIR.
make_fs() {
	local file=$1 size=$2 dir=$3
	shift 3
	rm -f -- "$file"
	mke2fs -qF -t "${FS:-ext4}" -E lazy_itable_init=0,nodiscard "$@" -d "$dir" "$file" \
		"$size" >mkfs.log 2>&1 || fail "mke2fs: $(cat mkfs.log)"
}

# azure_root: keys k1 and k2, passphrases p1 and p2; root, a folder, and root.clear, with it.
azure_root() {
	key_file k1 one
	key_file k2 two
	passphrase p1 one
	passphrase p2 two
	mkdir -p root/etc root/var/lib/azure_disk_encryption_config
	make_image root/etc/file 200K 1
	make_fs root.clear 4M root -L rootfs
}

# azure_boot FILE HEADER: a boot partition, as Azure's extension makes one where there was
# none.
azure_boot() {
	rm -rf boot
	mkdir -p boot/luks boot/grub
	cp "$2" boot/luks/osluksheader
	make_image boot/vmlinuz 400K 7
	FS=ext2 make_fs "$1" 6M boot -b 1024
}

# gpt_disk FILE IMAGE...: a disk with a GPT of these partitions.
gpt_disk() {
	local file=$1 image at=2048 n script="label: gpt"$'\n' places=() i=0
	shift
	for image; do
		n=$(($(stat -c %s "$image") / 512))
		script+="start=$at, size=$n"$'\n'
		places+=("$at")
		at=$(((at + n + 2047) / 2048 * 2048))
	done
	rm -f -- "$file"
	truncate -s $(((at + 2048) * 512)) "$file"
	sfdisk -q "$file" <<<"$script" >sfdisk.log 2>&1 || fail "$(cat sfdisk.log)"
	for image; do
		dd if="$image" of="$file" bs=1M seek=$((places[i++] / 2048)) \
			conv=notrunc,sparse status=none
	done
}

# make_kek NAME: NAME.pem (0600) and NAME.pub, another one each time. The first ones are
# there already: to find such primes takes half a second.
_keks=0
make_kek() {
	local key=$SRC/tests/data/rsa-3072-$((++_keks)).pem
	if [[ -e $key ]]; then
		cp -- "$key" "$1.pem"
	else
		openssl genrsa -out "$1.pem" 3072 2>/dev/null
	fi
	chmod 600 "$1.pem"
	openssl rsa -in "$1.pem" -pubout -out "$1.pub" 2>/dev/null
}

# record BEK-FILE KEK FILE-NAME: a record of the BEK, wrapped for KEK.pub.
record() {
	local value spki
	value=$(openssl pkeyutl -encrypt -pubin -inkey "$2.pub" -in "$1" \
		-pkeyopt rsa_padding_mode:oaep | base64 -w 0 | tr '+/' '-_' | tr -d =)
	spki=$(openssl pkey -pubin -in "$2.pub" -outform DER | sha256sum | cut -c 1-64)
	cat <<-END
		{"vaultfsEscrow": 1, "contentType": "Wrapped BEK",
		 "tags": {"DiskEncryptionKeyFileName": "$3"},
		 "wraps": [{"alg": "RSA-OAEP", "value": "$value", "spki": "$spki",
		 "kekUrl": "https://kv.vault.azure.net/keys/$2/0123456789abcdef0123456789abcdef"}]}
	END
}

# volumes [OPTION]... DISK=IMAGE...: volumes.json in OUT; the number of derivations
# in DERIVED.
volumes() {
	run_ok "$_tool/volumes" "$@"
	DERIVED=${ERR##*derived }
	DERIVED=${DERIVED%%[!0-9]*}
}

# row NAME FILTER: of volumes.json in OUT.
row() {
	jq -r --arg n "$1" ".volumes[] | select(.name == \$n) | $2" <<<"$OUT"
}

# states: "name=state …" of OUT.
states() {
	jq -r '[.volumes[] | .name + "=" + .state] | join(" ")' <<<"$OUT"
}

# assert_volume NAME WANT [VOLUMES-ARG]...: the clear bytes are those of file WANT.
assert_volume() {
	local name=$1 want=$2
	shift 2
	"$_tool/volumes" -o "$name" "$@" >got.img 2>got.err ||
		fail "$name: $(cat got.err)"
	assert_same got.img "$want"
	rm -f got.img
}

# use_softhsm: an HSM with no token yet, for softhsm2-util and by PKCS11_MODULE_PATH.
use_softhsm() {
	local module=/usr/lib/softhsm/libsofthsm2.so
	openssl engine -t pkcs11 >/dev/null 2>&1 || skip "needs OpenSSL's pkcs11 engine"
	[[ -e $module ]] || module=$(find /usr/lib* -name libsofthsm2.so 2>/dev/null | head -n 1)
	[[ $module ]] || skip "needs libsofthsm2.so"
	mkdir -m 700 tokens
	printf 'directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n' \
		"$PWD" >softhsm.conf
	export SOFTHSM2_CONF=$PWD/softhsm.conf PKCS11_MODULE_PATH=$module
}
