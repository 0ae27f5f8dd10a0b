#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# needs: VAULT_URL_BASE
# timeout: 240
#
# Two hosts, each in a network of its own, back one VM up at the same time: one of
# them makes the point, the other is told so, and the vault is whole.
. "$SRC/tests/lib.sh"
((EUID == 0)) || skip "needs root, for network namespaces"
require ip python3

tag=v$$
service=${AZURE_STORAGE_SERVICE_ENDPOINT:-${AWS_ENDPOINT_URL-}}
service=${service#http://}
service=${service%%/*}
port=${service#*:}
net=$((RANDOM % 250)).$((RANDOM % 250 + 2))

# host N: a namespace that reaches the service at 10.$net.(4N+1).
host() {
	local here=10.$net.$((4 * $1 + 1)) there=10.$net.$((4 * $1 + 2))
	ip netns add "$tag-$1" 2>/dev/null || skip "needs network namespaces"
	at_exit ip netns del "$tag-$1"
	ip link add "$tag-$1" type veth peer name eth0 netns "$tag-$1" \
		2>/dev/null || skip "needs veth"
	ip addr add "$here/30" dev "$tag-$1"
	ip link set "$tag-$1" up
	ip -n "$tag-$1" addr add "$there/30" dev eth0
	ip -n "$tag-$1" link set eth0 up
	# The service is on loopback only.
	python3 - "$here" "${service%:*}" "$port" <<-'END' &
		import socket, sys, threading
		def pump(a, b):
		    try:
		        while d := a.recv(65536):
		            b.sendall(d)
		    except OSError:
		        pass
		    for s in (a, b):
		        try: s.shutdown(socket.SHUT_RDWR)
		        except OSError: pass
		l = socket.create_server((sys.argv[1], int(sys.argv[3])))
		while True:
		    c, _ = l.accept()
		    s = socket.create_connection((sys.argv[2], int(sys.argv[3])))
		    for x in ((c, s), (s, c)):
		        threading.Thread(target=pump, args=x, daemon=True).start()
	END
	at_exit kill $!
	wait_until 20 answers "$1" "$here"
}
answers() {
	ip netns exec "$tag-$1" bash -c "exec 3<>/dev/tcp/$2/$port" 2>/dev/null
}
# on N CMD...: as that host
on() {
	local n=$1
	shift
	ip netns exec "$tag-$n" env VAULTFS_CONFIG_DIR="$PWD/host$n/config" \
		VAULTFS_STATE_DIR="$PWD/host$n/state" \
		AZURE_STORAGE_SERVICE_ENDPOINT="http://10.$net.$((4 * n + 1)):$port" \
		AWS_ENDPOINT_URL="http://10.$net.$((4 * n + 1)):$port" "$@"
}

host 0
host 1
url=$VAULT_URL_BASE/$VAULT_CASE/vault
make_image 0.img 12M 1
make_image 1.img 12M 2
run_ok on 0 vaultctl init -q "$url"
run_ok on 0 vaultctl key list "$url"
owner=$(sed -n 's/ *owner.*//p' <<<"$OUT")
run_ok on 1 vaultctl key pin "$url" "$owner"
run_ok on 1 vaultctl key show "$url"
run_ok on 0 vaultctl key add "$url" "$OUT"

won=0
for round in 1 2 3; do
	for n in 0 1; do
		on $n vaultctl backup "$url" vm$round -d os=$n.img \
			-t 2026-01-0${round}T00:00:00Z >out$n 2>err$n &
		pids[n]=$!
	done
	codes=()
	for n in 0 1; do
		codes[n]=0
		wait "${pids[n]}" || codes[n]=$?
	done
	# One at least; both only if one began after the other had ended, which
	# the second's point of the same time then forbids.
	assert_eq $((codes[0] + codes[1])) 1 "$(cat err0 err1)"
	for n in 0 1; do
		if ((codes[n])); then
			# The shell adds a line of its own.
			assert_eq "$(grep -c '^vaultctl: ' err$n)" 1 "$(cat err$n)"
		else
			winner=$n
			won=$((won + 1))
		fi
	done
	run_ok on $((1 - winner)) vaultctl restore -q "$url" vm$round latest \
		--to out.img
	assert_same out.img "$winner.img"
	rm -f out.img
done
assert_eq $won 3
run_ok on 1 vaultctl verify "$url"
