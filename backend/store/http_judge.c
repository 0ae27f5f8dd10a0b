// SPDX-License-Identifier: GPL-3.0-or-later
/* What came of a try: done, worth another, or a failure and its sentence. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/store/http_try.h"

#define HOST_MAX 280

int http_judge_head(struct attempt *y)
{
	long status = 0;

	y->judged = true;
	curl_easy_getinfo(y->easy, CURLINFO_RESPONSE_CODE, &status);
	return http_take_head(&y->t->take, (int)status);
}

/* Of all codes, those that are worth a sentence of their own. */
static const struct code {
	CURLcode code;
	bool again, reached;
	const char *text; /* with the host for %s */
} codes[] = {
	{ CURLE_COULDNT_RESOLVE_HOST, true, false,
	  "no address is known for %s" },
	{ CURLE_COULDNT_RESOLVE_PROXY, true, false,
	  "no address is known for the proxy on the way to %s" },
	{ CURLE_COULDNT_CONNECT, true, false, "no connection to %s" },
	{ CURLE_OPERATION_TIMEDOUT, true, true, "%s does not answer" },
	{ CURLE_SEND_ERROR, true, true, "the connection to %s broke" },
	{ CURLE_RECV_ERROR, true, true, "the connection to %s broke" },
	{ CURLE_GOT_NOTHING, true, true, "the connection to %s broke" },
	{ CURLE_PARTIAL_FILE, true, true, "the answer of %s broke off" },
	{ CURLE_HTTP2, true, true, "the connection to %s broke" },
	{ CURLE_HTTP2_STREAM, true, true, "the answer of %s broke off" },
	{ CURLE_SSL_CONNECT_ERROR, true, false, "no TLS with %s" },
	{ CURLE_PEER_FAILED_VERIFICATION, false, false,
	  "the certificate of %s is not trusted: --cacert names the "
	  "authority's, if it is not one of the system's" },
	{ CURLE_SSL_CACERT_BADFILE, false, false,
	  "no connection to %s: the file of --cacert has no certificate that "
	  "can be read" },
	{ CURLE_UNSUPPORTED_PROTOCOL, false, true,
	  "%s does not speak HTTP (URLs begin with http: or https:)" },
	{ CURLE_URL_MALFORMAT, false, false, "'%s' is no host" },
	{ CURLE_WEIRD_SERVER_REPLY, false, true, "%s does not speak HTTP" },
};

/* What OpenSSL found wrong with it: nothing more, where it is the name alone. */
#define X509_UNSPECIFIED 1
#define X509_EXPIRED 10

static const char *why_not_trusted(struct attempt *y, const char *otherwise)
{
	long found = -1;

	curl_easy_getinfo(y->easy, CURLINFO_SSL_VERIFYRESULT, &found);
	if (found == 0 || found == X509_UNSPECIFIED)
		return "the certificate of %s is for another name";
	if (found == X509_EXPIRED)
		return "the certificate of %s has expired";
	return otherwise;
}

static int judge_code(struct attempt *y, struct outcome *o)
{
	char host[HOST_MAX];
	const struct code *c = NULL;
	const char *text;

	http_host(y->wire.url, host, sizeof(host));
	for (size_t i = 0; !c && i < ARRAY_SIZE(codes); i++)
		if (codes[i].code == y->code)
			c = &codes[i];
	if (y->code == CURLE_OUT_OF_MEMORY)
		return fail(-ENOMEM, "out of memory");
	if (!c)
		return fail(-EPROTO, "%s: %s: %s", y->t->take.q->what, host,
			    curl_easy_strerror(y->code));
	o->again = c->again;
	o->reached = c->reached;
	o->broke = c->code != CURLE_OPERATION_TIMEDOUT;
	text = c->text;
	if (c->code == CURLE_PEER_FAILED_VERIFICATION)
		text = why_not_trusted(y, text);
	const char *s = strstr(text, "%s");
	snprintf(o->cause, sizeof(o->cause), "%.*s%s%s", (int)(s - text), text,
		 host, s + 2);
	if (c->again)
		return 0;
	/* Where there is no way to the server, it has said nothing wrong. */
	return fail(c->reached ? -EPROTO : -ENXIO, "%s: %s", y->t->take.q->what,
		    o->cause);
}

static bool status_again(int status)
{
	return status == 408 || status == 429 || status == 500 ||
	       (status >= 502 && status <= 504);
}

static void judge_status(struct attempt *y, struct outcome *o)
{
	struct transfer *t = y->t;
	const struct http_request *q = t->take.q;
	int status = t->take.a->status;
	const char *code = http_header(t->take.a, "x-ms-error-code");
	char host[HOST_MAX];

	o->answered = true;
	o->again = status_again(status) ||
		   (q->again && status >= 300 && q->again(q->ctx, t->take.a));
	o->reached = status != 429 && status != 503;
	http_host(y->wire.url, host, sizeof(host));
	if (code)
		snprintf(o->cause, sizeof(o->cause), "%s answered %d %.100s",
			 host, status, code);
	else
		snprintf(o->cause, sizeof(o->cause), "%s answered %d", host,
			 status);
}

int http_judge(struct attempt *y, struct outcome *o)
{
	struct transfer *t = y->t;
	int r;

	if (y->verdict < 0)
		return err_load(&y->said);
	/* All that was asked for is here: how the answer ends is no matter. */
	if (y->judged && t->take.q->len && t->take.a->status == 206 &&
	    t->take.got == t->take.q->len)
		y->code = CURLE_OK;
	/* libcurl takes a head that breaks off for an answer without body. */
	if (y->code == CURLE_OK && !y->whole_head)
		y->code = CURLE_PARTIAL_FILE;
	if (y->code != CURLE_OK)
		return judge_code(y, o);
	if (!y->judged) {
		r = http_judge_head(y); /* there was no body */
		if (r < 0)
			return r;
	}
	if (t->take.a->status == 412 && t->take.got && t->take.etag)
		return fail(-ESTALE, "%s: it changed while it was read",
			    t->take.q->what);
	judge_status(y, o);
	if (!o->again && t->take.a->status == 206 && t->take.q->len &&
	    t->take.got < t->take.q->len) {
		o->again = o->reached = o->broke = true;
		http_host(y->wire.url, o->cause, sizeof(o->cause) / 2);
		snprintf(o->cause + strlen(o->cause),
			 sizeof(o->cause) - strlen(o->cause),
			 " sends less than it announces");
	}
	return 0;
}
