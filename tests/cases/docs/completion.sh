#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What the completion offers.
. "$SRC/tests/lib.sh"
# shellcheck source=/dev/null
. "$SRC/tools/completion/vaultctl"
# shellcheck source=/dev/null
. "$SRC/tools/completion/vaultkey"

vaultctl init -q vault
make_image x.img 100K
vaultctl backup -q vault web-01 -d os=x.img -t 2026-01-02T00:00:00Z
vaultctl backup -q vault 'a b' -d os=x.img

# offers WANTED WORD...: after these words, the last one being typed.
offers() {
	local want=$1
	shift
	COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
	"_$1" 2>/dev/null || :
	assert_eq "${COMPREPLY[*]-}" "$want" "after: $*"
}

offers "backup" vaultctl b
offers "restore" vaultctl re
offers "verify" vaultctl help v
offers "retire" vaultctl key r
offers "vault" vaultctl list v
offers "web-01" vaultctl list vault w
offers 'a\ b' vaultctl restore vault a
offers "latest" vaultctl restore --to out -d os vault web-01 l
offers "2026-01-02T00-00-00Z" vaultctl prune vault web-01 ''
offers "" vaultctl show vault web-01 latest ''
offers "objects" vaultctl verify --level o
offers "application" vaultctl backup --consistency a
offers "vhd" vaultctl restore -f v
offers "--consistency --changed --check --cacert" vaultctl backup --c
offers "--dry-run" vaultctl prune --d
# shellcheck disable=SC2016
offers "" vaultctl list '$(touch oops)' ''
[[ ! -e oops ]] || fail "what was typed was run"

offers "unwrap" vaultkey u
offers "open" vaultkey o
offers "--overlay" vaultkey open --o
offers "escrow" vaultkey help e
offers "--file-name" vaultkey escrow --f
offers "RSA-OAEP-256" vaultkey escrow --algorithm RSA-OAEP-
offers "x.img" vaultkey unwrap --kek x.
