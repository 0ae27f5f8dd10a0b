# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
#
# Sourced by the shell cases: . "$SRC/tests/lib.sh"
# The runner gives BUILD, SRC, TMPDIR and a private HOME, and starts a case in
# TMPDIR, which is empty but for home/.

set -euo pipefail
shopt -s inherit_errexit

: "${BUILD:?run it by tests/run, or make check T=name}" "${SRC:?}" "${TMPDIR:?}"

# Where vaults are not directories: a name like "vault" is a folder of this case
# below that URL, for the programs, by what stands before them in PATH.
if [[ ${VAULT_URL_BASE-} ]]; then
	VAULT_CASE=${TMPDIR//[^A-Za-z0-9._-]/-}
	VAULT_CASE=${VAULT_CASE##*vaultfs-tests.}
	PATH=$SRC/tests/remote:$PATH
	export VAULT_CASE
fi

# --- the end of a case ------------------------------------------------------

_at_exit=()
_mounts=0
declare -A _daemon=() _daemon_log=()

# at_exit CMD ARG...: run at the end, the last one first, whatever happens.
at_exit() {
	_at_exit+=("$(printf '%q ' "$@")")
}

_cleanup() {
	local code=$? i mnt
	trap - EXIT ERR
	set +e
	for mnt in "${!_daemon[@]}"; do
		fusermount3 -uz -- "$mnt" 2>/dev/null
		kill -TERM "${_daemon[$mnt]}" 2>/dev/null
		# Why a case failed is often said by its daemon only.
		if ((code != 0 && code != 77)); then
			_show "${_daemon_log[$mnt]}" >&2
		fi
	done
	for ((i = ${#_at_exit[@]} - 1; i >= 0; i--)); do
		eval "${_at_exit[i]}"
	done
	exit "$code"
}
trap _cleanup EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

_show() {
	echo "--- $1"
	cat -- "$1"
	echo "---"
}

# fail MSG: the case fails here, and says where it was called from.
fail() {
	local i=0
	while [[ ${BASH_SOURCE[i]} == "${BASH_SOURCE[0]}" ]] &&
		((i + 1 < ${#BASH_SOURCE[@]})); do
		i=$((i + 1))
	done
	echo "${BASH_SOURCE[i]##*/}:${BASH_LINENO[i - 1]}: $*" >&2
	exit 1
}
# Says which command ended the case, where `set -e` would be silent.
trap '_code=$?; echo "${BASH_SOURCE[0]##*/}:$LINENO: exit code $_code: $BASH_COMMAND" >&2' ERR
set -E

# skip REASON: what the case needs is not here.
skip() {
	echo "$*"
	exit 77
}

# require CMD...: skips when one of the commands is missing.
require() {
	local cmd
	for cmd; do
		command -v "$cmd" >/dev/null 2>&1 || skip "needs $cmd"
	done
}

# Skips where nothing can be mounted.
require_fuse() {
	local caps='' name value
	require fusermount3
	[[ -e /dev/fuse ]] || skip "needs /dev/fuse"
	# Opened in a child: a failing exec redirection would end the case.
	(exec 3<>/dev/fuse) 2>/dev/null || skip "needs to open /dev/fuse"
	# Root in a container may have the device and still not mount.
	if ((EUID == 0)); then
		while read -r name value; do
			[[ $name != CapEff: ]] || caps=$value
		done </proc/self/status
		((16#$caps >> 21 & 1)) || skip "needs the right to mount (CAP_SYS_ADMIN)"
	fi
}

# --- assertions -------------------------------------------------------------

# assert_eq GOT WANTED [WHAT]
assert_eq() {
	[[ $1 == "$2" ]] || fail "${3:+$3: }got '$1', wanted '$2'"
}

# assert_contains TEXT PART [WHAT]
assert_contains() {
	[[ $1 == *"$2"* ]] || fail "${3:+$3: }no '$2' in '$1'"
}

# assert_lacks TEXT PART [WHAT]
assert_lacks() {
	[[ $1 != *"$2"* ]] || fail "${3:+$3: }'$2' in '$1'"
}

# assert_same FILE FILE: equal byte for byte.
assert_same() {
	local said
	said=$(cmp -- "$1" "$2" 2>&1) || fail "$said"
}

# Sets a variable to what is in a file, but for NULs and the newlines at its end. Here
# and below nothing is started for what bash does itself: a case runs a program a
# hundred times, and the time would be spent on that.
_slurp() {
	local -n _text=$1
	local _parts=() IFS=
	mapfile -d '' -t _parts <"$2"
	_text=${_parts[*]-}
	while [[ $_text == *$'\n' ]]; do
		_text=${_text%$'\n'}
	done
}

# Runs a command; its output goes to OUT and ERR, its exit code to CODE.
_run() {
	local said=$TMPDIR/.said.$BASHPID
	CODE=0
	"$@" >"$said.out" 2>"$said.err" || CODE=$?
	_slurp OUT "$said.out"
	_slurp ERR "$said.err"
}

# run_ok CMD...: succeeds; output in OUT and ERR.
run_ok() {
	_run "$@"
	((CODE == 0)) || fail "exit code $CODE of: $*: $ERR"
}

# run_fails [-l LINES|any] EXIT CMD...: the exit code is EXIT, and standard
# error has one line that is not empty, or so many, or any number of them.
# Output in OUT and ERR.
run_fails() {
	local lines=1 want have=0 line
	if [[ $1 == -l ]]; then
		lines=$2
		shift 2
	fi
	want=$1
	shift
	_run "$@"
	((CODE == want)) ||
		fail "exit code $CODE, wanted $want, of: $*: ${ERR:-(nothing said)}"
	[[ $lines == any ]] && return
	while IFS= read -r line; do
		[[ ! $line ]] || have=$((have + 1))
	done <<<"$ERR"
	((have == lines)) ||
		fail "$have lines on stderr, wanted $lines, of: $*: $ERR"
}

# A short sleep, without a program for it: nothing ever comes from there.
_nothing=''
_nap() {
	local rest
	[[ $_nothing ]] || exec {_nothing}<> <(:)
	IFS= read -r -t 0.02 -u "$_nothing" rest || :
}

# fs_stat NAME: what is counted under that name in the statistics of the mount at mnt.
fs_stat() {
	python3 -c 'import os, json, sys
print(json.loads(os.getxattr("mnt", "user.vaultfs.stats"))[sys.argv[1]])' "$1"
}
# counted NAME N: at least so many
counted() {
	(($(fs_stat "$1") >= $2))
}

# wait_until SECONDS CMD...: polls until the command succeeds.
wait_until() {
	local end=$((SECONDS + $1 + 1))
	shift
	until "$@"; do
		((SECONDS < end)) || fail "not so in time: $*"
		_nap
	done
}

# --- mounts -----------------------------------------------------------------

# A path as mountinfo has it.
_mount_name() {
	local name dir=$1
	[[ $dir == /* ]] || dir=$PWD/$dir
	while [[ $dir == */ ]]; do
		dir=${dir%/}
	done
	name=$(cd -- "${dir%/*}/" && pwd -P)/${dir##*/}
	name=${name//\\/\\134}
	printf '%s' "${name// /\\040}"
}

# Read from mountinfo: asking for the path itself could hang.
_is_listed() {
	local mounted
	while read -r _ _ _ _ mounted _; do
		[[ $mounted == "$1" ]] && return 0
	done </proc/self/mountinfo
	return 1
}

is_mounted() {
	_is_listed "$(_mount_name "$1")"
}

# mount_vault [OPTION]... VAULT... MNT: runs vaultfs in the foreground mode as
# a child, and returns when the mount is there. MNT is made if need be. Its
# process is daemon_pid MNT, what it says is in daemon_log MNT.
mount_vault() {
	local mnt=${*: -1} log=$TMPDIR/.mount.$BASHPID.$((_mounts++)) pid end name
	[[ -d $mnt ]] || mkdir -p -- "$mnt"
	name=$(_mount_name "$mnt")
	vaultfs -f "$@" >"$log" 2>&1 </dev/null &
	pid=$!
	_daemon[$mnt]=$pid
	_daemon_log[$mnt]=$log
	# Sanitized programs start slowly on a busy machine.
	end=$((SECONDS + 30 * ${CHECK_PATIENCE:-1}))
	until _is_listed "$name"; do
		if ! kill -0 "$pid" 2>/dev/null; then
			unset "_daemon[$mnt]"
			fail "vaultfs ended before it had mounted: $(cat -- "$log")"
		fi
		((SECONDS < end)) || fail "not mounted after a long time: $mnt"
		_nap
	done
}

daemon_pid() {
	echo "${_daemon[$1]}"
}

daemon_log() {
	echo "${_daemon_log[$1]}"
}

# wait_daemon MNT: the daemon must end by itself now, with exit code 0.
wait_daemon() {
	local mnt=$1 pid=${_daemon[$1]} log=${_daemon_log[$1]} code=0 end
	# A case beside this one that is in a mount namespace of its own holds a
	# copy of each mount that there was: the daemon goes when that goes too.
	end=$((SECONDS + 30 * ${CHECK_PATIENCE:-1}))
	while kill -0 "$pid" 2>/dev/null; do
		((SECONDS < end)) || fail "vaultfs still runs long after the unmount"
		_nap
	done
	wait "$pid" || code=$?
	unset "_daemon[$mnt]"
	((code == 0)) || fail "vaultfs exited with $code: $(cat -- "$log")"
}

# umount_vault MNT
umount_vault() {
	fusermount3 -u -- "$1" || fail "cannot unmount $1"
	wait_daemon "$1"
}

# --- what a vault stores ---

# Cases look into a vault, and alter it, by files below its NAME. Those of a directory
# are its objects themselves; elsewhere they are a copy:
#
#	vault_out NAME		NAME/ has what the vault has now
#	vault_in NAME		the vault has what NAME/ has now
#
# The rest is alike for both: vault_keys NAME (a line for each object), vault_remove
# NAME, vault_url NAME (as sentences call it).
is_remote() {
	[[ ${VAULT_URL_BASE-} ]]
}

vault_url() {
	if is_remote; then
		printf '%s\n' "$VAULT_URL_BASE/$VAULT_CASE/$1"
	else
		printf '%s\n' "$PWD/$1"
	fi
}

_objects() {
	"$BUILD/tests/tools/objects" "$@" || fail "objects $*"
}

vault_out() {
	is_remote || return 0
	rm -rf -- "$1"
	mkdir -- "$1"
	_objects pull "$(vault_url "$1")" "$1"
}

vault_in() {
	is_remote || return 0
	_objects push "$1" "$(vault_url "$1")"
}

vault_keys() {
	if is_remote; then
		_objects list "$(vault_url "$1")"
	else
		find "$1" -type f -printf '%P\n'
	fi
}

vault_remove() {
	rm -rf -- "$1"
	! is_remote || _objects clear "$(vault_url "$1")"
}

# relay_service: from here on the programs talk with the service by a relay, for which
# there is vault_away and vault_back NAME (a directory goes away itself), and
# relay_hang and relay_goes_on. A request is tried for 2 seconds only: after what fills the vault, whose
# first requests a service that was just started may keep waiting for longer.
relay_service() {
	is_remote || return 0
	local at=$BASHPID url
	_relay=127.$((at >> 16 & 31 | 32)).$((at >> 8 & 255)).$((at & 255)):7482
	_service=${AZURE_STORAGE_SERVICE_ENDPOINT:-${AWS_ENDPOINT_URL-}}
	_service=${_service#http://}
	export VAULTFS_RETRY=2s
	at_exit _relay_end
	_relay_start
	url=http://$_relay${_service#"${_service%%/*}"}
	if [[ ${AZURE_STORAGE_SERVICE_ENDPOINT-} ]]; then
		export AZURE_STORAGE_SERVICE_ENDPOINT=$url
	else
		export AWS_ENDPOINT_URL=$url
	fi
}

_relay_answers() {
	(exec 3<>"/dev/tcp/${_relay%:*}/${_relay#*:}") 2>/dev/null
}

_relay_start() {
	python3 "$SRC/tests/remote/relay" "$_relay" "${_service%%/*}" &
	_relay_pid=$!
	wait_until 30 _relay_answers
}

_relay_end() {
	kill -9 "$_relay_pid" 2>/dev/null || :
	wait "$_relay_pid" 2>/dev/null || :
}

relay_hang() {
	kill -STOP "$_relay_pid"
}

relay_goes_on() {
	kill -CONT "$_relay_pid"
}

vault_away() {
	if is_remote; then
		_relay_end
	else
		cp -a "$1" "$1.away" && rm -rf "$1"
	fi
}

vault_back() {
	if is_remote; then
		_relay_start
	else
		mv "$1.away" "$1"
	fi
}

# --- images -----------------------------------------------------------------

# make_image [--holes] FILE SIZE [SEED]: bytes that no compressor shrinks, the
# same for the same seed. SIZE may end in K, M or G. With --holes, the middle
# third of each 3 MiB (of the file, when it is smaller) is a hole.
# make_image --at OFFSET FILE SIZE [SEED]: the same bytes into a file that is there.
make_image() {
	local options=()
	if [[ $1 == --holes ]]; then
		options=("$1")
		shift
	elif [[ $1 == --at ]]; then
		options=("$1" "$2")
		shift 2
	fi
	"$BUILD/tests/tools/image" ${options[@]+"${options[@]}"} "$1" "$2" "${3:-1}" ||
		fail "no image $1"
}
