// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * One request and its tries, for http.c, which makes and runs them, and http_judge.c,
 * which finds out in the caller's thread what came of one.
 */
#pragma once
#include "backend/base/err.h"
#include "backend/store/curl.h"
#include "backend/store/http_impl.h"

/* One request, over all its tries. */
struct transfer {
	struct http_take take; /* what is asked, and what comes */
	struct http *h;
	/* What of the time was well spent: on what has come and is kept, and the most
	 * that one try spent on getting the body out. */
	uint64_t came_ms, sent_ms;
	uint64_t start_ns;
};

/* One try. */
struct attempt {
	struct transfer *t;
	struct http_wire wire;
	CURL *easy;
	struct curl_slist *list;
	/* Of the body that is sent. */
	size_t piece, at;
	/* The thread's while it runs. */
	bool judged;	       /* the head was looked at */
	bool whole_head;       /* its end was seen */
	int verdict;	       /* negative: the answer is refused */
	struct err_saved said; /* with verdict */
	CURLcode code;
	uint64_t had;	       /* of the body, before it */
	unsigned times;	       /* how often it went out */
	uint64_t began_ns;     /* when it left the queue */
	struct attempt *next;  /* lock */
	bool is_running, done; /* lock */
	bool drop;	       /* lock: nobody waits for it any more */
};

/* What a try came to, where the request is not at its end. */
struct outcome {
	bool answered; /* by the server, with a whole head */
	bool again;
	bool broke;   /* the connection did, in mid-flight or before */
	bool reached; /* the server may have done what was asked */
	char cause[400];
};

/* Once all of the head is there; negative: the answer is refused. */
int http_judge_head(struct attempt *y) MUST_USE;
/* A try that has ended: 0, and with o->again false it is done. */
int http_judge(struct attempt *y, struct outcome *o) MUST_USE;
