#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# timeout: 120
#
# What our writer writes, the independent reader finds whole and to the letter of FORMAT.md;
# both and the images agree on every byte of every point.
. "$SRC/tests/lib.sh"

python=''
for p in /usr/bin/python3 python3; do
	if "$p" -c 'import zstandard, cryptography' 2>/dev/null; then
		python=$p
		break
	fi
done
[[ $python ]] || skip "needs python3 with zstandard and cryptography"

reader() {
	"$python" "$SRC/tests/reader.py" "$@"
}

# What each point must be: its VM, time and disk, and a file with its bytes, a line a disk.
mkdir kept
: >wanted
day=0
# backup VM NAME=IMAGE... [-- OPTION...]: a point of the next day.
backup() {
	local vm=$1 time args=()
	shift
	day=$((day + 1))
	printf -v time '2026-01-%02d' "$day"
	while (($#)) && [[ $1 != -- ]]; do
		args+=(-d "$1")
		cp --sparse=auto "${1#*=}" "kept/$day-${1%%=*}"
		printf '%s\t%s\t%s\t%s\n' "$vm" "$time" "${1%%=*}" "kept/$day-${1%%=*}" >>wanted
		shift
	done
	shift || :
	vaultctl backup -q vault "$vm" -t "${time}T00:00:00Z" "${args[@]}" "$@"
}

# write IMAGE OFFSET SIZE SEED, or SOURCE in place of the seed
write() {
	if [[ $4 == [0-9]* ]]; then
		make_image --at "$2" "$1" "$3" "$4"
	else
		dd if="$4" of="$1" bs=4K oflag=seek_bytes seek="$2" iflag=count_bytes \
			count="$3" conv=notrunc status=none
	fi
}

# check [KEY=NUMBER]...: the reader's whole check, and some of what it counted.
check() {
	local said key
	vault_out vault
	said=$(reader vault check) || fail "the independent reader is not content"
	for key; do
		[[ $said == *"\"${key%=*}\": ${key#*=},"* ]] ||
			fail "not $key: $said"
	done
}

vaultctl init -q vault
make_image --holes a.img 9M 1
make_image b.img 700001 2
truncate -s 264M c.img
write c.img $((260 << 20)) 128K 3
truncate -s 1M zero.img
yes 'much the same' | head -c 3000000 >text.img || :
printf 'x' >one.img

# The first of each, of names that need escapes in keys.
vm='größe 1 %'
backup "$vm" os=a.img '.data é'=b.img -- -l os=linux -l app='größte Ω' -l empty=
check vms=1 points=1 disks=2 labels=3 open_sessions=0 leftover=0
backup vm2 big=c.img zero=zero.img text=text.img one=one.img

# Little changes, a frame is zeroed, a frame shrinks.
write a.img $((1 << 20)) 4K 4
write a.img $((5 << 20)) 192K /dev/zero
write a.img $((7 << 20)) 64K text.img
backup "$vm" os=a.img '.data é'=b.img
# Nothing changes.
backup "$vm" os=a.img '.data é'=b.img

# As the caller says.
write a.img $((2 << 20)) 100K 7
write a.img $((8 << 20)) 4K 8
printf '2M 100K\n8M 4096\n' >extents
backup "$vm" os=a.img '.data é'=b.img -- -b latest -C os=extents
# Grown past the end of a frame, of a chunk; shrunk; a new disk; one less.
make_image more 5000000 15
cat more >>a.img
backup "$vm" os=a.img new=text.img
truncate -s 600000 b.img
write c.img $((263 << 20)) 64K 9
backup vm2 big=c.img zero=zero.img text=text.img one=one.img b=b.img
echo none >none
truncate -s 266M c.img
printf '264M 2M\n' >grown
backup vm2 big=c.img zero=zero.img b=b.img -- -b latest -C big=grown -C zero=none -C b=none
truncate -s 100M c.img
backup vm2 big=c.img b=b.img

# Built on an older point than the latest, and older than all.
backup "$vm" os=a.img -- -b 2026-01-01
vaultctl backup -q vault "$vm" -d old=one.img -t 2025-12-31T00:00:00Z -b 2026-01-01

# Killed on the way, and gone on with.
make_image big.img 32M 10
vaultctl backup -q vault "$vm" -d os=big.img -t 2026-02-01T00:00:00Z &
pid=$!
# The first segment of the new image is there.
segments() {
	vault_keys vault | grep -c '/s/' || :
}
had=$(segments)
for ((i = 0; i < 500; i++)); do
	(($(segments) <= had)) || break
	sleep 0.01
done
kill -9 $pid 2>/dev/null || :
wait $pid 2>/dev/null || :
write big.img $((1 << 20)) 256K 11
backup "$vm" os=big.img

# Keys come and go.
export VAULTFS_CONFIG_DIR=$TMPDIR/other
key=$(vaultctl key show vault)
unset VAULTFS_CONFIG_DIR
vaultctl key add -q vault "$key" --label other
mine=$(vaultctl key show vault)
write b.img 0 4K 12
VAULTFS_CONFIG_DIR=$TMPDIR/other backup vm2 b=b.img
vaultctl key retire -q vault "$mine"
write b.img 0 4K 13
export VAULTFS_CONFIG_DIR=$TMPDIR/other
backup vm2 b=b.img

# Dropped: the first, the last but one, a base of others.
vaultctl prune -q vault "$vm" 2026-01-01 2026-01-03
vaultctl prune -q vault vm2 2026-01-02
sed -i -e "/^$vm\t2026-01-0[13]\t/d" -e '/^vm2\t2026-01-02\t/d' wanted
write b.img 8192 4K 14
backup vm2 b=b.img
check vms=2 open_sessions=0

# Every disk of every point, as both readers see it.
run_ok vaultctl verify vault
vault_out vault
"$python" - wanted <<'PY'
import json, os, subprocess, sys
sys.path.insert(0, os.environ['SRC'] + '/tests')
import reader

def vaultctl(*args):
    return subprocess.run(('vaultctl',) + args, check=True, stdout=subprocess.PIPE).stdout

def same(a, b):
    assert a == b, (name, time, a, b)

def piece_of(fd, at, n):
    """What is read there; where that is a hole, without reading it."""
    try:
        hole = n <= 1 << 20 and os.lseek(fd, at, os.SEEK_DATA) >= at + n
    except OSError:             # no more data
        hole = True
    return reader.ZEROS[:n] if hole else os.pread(fd, n, at)

def pieces_of(path):
    with open(path, 'rb') as f:
        for at in range(0, os.path.getsize(path), 1 << 20):
            yield piece_of(f.fileno(), at, min(1 << 20, os.path.getsize(path) - at))

def same_bytes(kept, pieces):
    at = 0
    with open(kept, 'rb') as f:
        for piece in pieces:
            assert piece_of(f.fileno(), at, len(piece)) == piece, (name, time, disk, at)
            at += len(piece)
    same(at, os.path.getsize(kept))

theirs, seen, vms = reader.Vault('vault'), 0, {}
with open(sys.argv[1]) as wanted:
    lines = [line.rstrip('\n').split('\t') for line in wanted]
assert len(lines) > 15, len(lines)
# To be quick, one in three: the newest, and back from there.
if not os.environ.get('CHECK_ALL'):
    lines = lines[::-3]
for name, time, disk, kept in lines:
    vm = vms.setdefault(name, reader.VM(theirs, name.encode()))
    ours = json.loads(vaultctl('show', '-q', '--json', 'vault', name, time))
    p = vm.point(ours['id'])
    same(reader.iso(p.time), ours['recoveryPointTime'])
    same(p.base and reader.genstr(p.base), ours['base'])
    same(p.labels(p.obj), ours.get('labels', {}))
    same([(d.name.decode(), d.size, d.root.hex()) for d in p.disks],
         [(d['name'], d['size'], d['rootHash']) for d in ours['disks']])
    same_bytes(kept, vm.read(vm.disk(p, disk)))
    restore = 'restore', '-q', 'vault', name, time, '-d', disk, '--to'
    if os.path.getsize(kept) < 16 << 20:
        same_bytes(kept, [vaultctl(*restore, '-')])
    else:
        vaultctl(*restore, 'restored')
        same_bytes(kept, pieces_of('restored'))
        os.unlink('restored')
    seen += 1
assert seen == len(lines), seen
for name, vm in vms.items():
    rows = json.loads(vaultctl('list', '-q', '--json', 'vault', name))['points']
    same([reader.genstr(r.id) for r in vm.head.rows], [r['id'] for r in rows])
PY
