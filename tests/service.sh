# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
#
# Sourced after tests/lib.sh by the cases that bring a service of their own, the fake of
# Azure Blob (tests/fakes/blobs.py).

unset http_proxy https_proxy all_proxy no_proxy HTTPS_PROXY ALL_PROXY NO_PROXY \
	"${!AZURE_STORAGE_@}"

# start_fake [PEM]: sets FAKE_URL, and the variables by which it is found; over TLS with
# this certificate and key. What it is told is by say.
start_fake() {
	rm -f fake.to fake.from
	mkfifo fake.to fake.from
	python3 "$SRC/tests/fakes/blobs.py" azure "$@" <fake.to >fake.from &
	at_exit kill $!
	exec {_to}>fake.to {_from}<fake.from
	read -r _ FAKE_URL <&"$_from"
	export AZURE_STORAGE_KEY=dGhlIGtleSBvZiB0aGUgYWNjb3VudDogMzIgYnl0ZXMh
	export AZURE_STORAGE_SERVICE_ENDPOINT=$FAKE_URL
}

say() {
	local line
	echo "$*" >&"$_to"
	read -r line <&"$_from"
	printf '%s\n' "$line"
}

# certificate NAME SAN: NAME.pem (with its key), signed by NAME-ca.pem.
certificate() {
	openssl req -x509 -newkey rsa:2048 -nodes -subj "/CN=$1 ca" -days 30 \
		-keyout "$1-ca.key" -out "$1-ca.pem" 2>/dev/null
	openssl req -newkey rsa:2048 -nodes -subj "/CN=$1" -keyout "$1.key" \
		-out "$1.csr" 2>/dev/null
	openssl x509 -req -in "$1.csr" -CA "$1-ca.pem" -CAkey "$1-ca.key" -CAcreateserial \
		-days "${3-30}" -extfile <(echo "subjectAltName=$2") -out "$1.crt" 2>/dev/null
	cat "$1.crt" "$1.key" >"$1.pem"
}
