// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * access: the addresses (SAS) at which disks of restore points can be read, each
 * asked for when its disk is first opened, extended while it is in use, and left to
 * end by itself.
 *
 * Azure lets at most ACCESS_FAMILY_MAX points of one disk be readable at a time.
 * A sixth takes the place of one that nobody here reads any more, which is ended
 * (endGetAccess) only where the service itself is surely done with it: its point is
 * in the vault tier too. All share one address of a disk restore point, so that
 * ending it while the service still copies would cut its copy.
 *
 * Any thread. Lock: the table's; not held across I/O.
 */
#pragma once
#include "backend/azure/azure.h"

#define ACCESS_FAMILY_MAX 5
/* What is asked for; extended when a fifth of it is left. */
#define ACCESS_SECONDS 1800

struct access_table;
struct access_lease;

int access_table_new(struct azure *az, struct access_table **ret) MUST_USE;
/* All leases are closed. */
void access_table_free(struct access_table *t);

struct access_wanted {
	const char *id;	    /* of the disk restore point */
	const char *family; /* of the disk it is of */
	const char *what;   /* for sentences */
	bool may_end;	    /* the service needs it no more */
};

/* Asks for no address yet. -EBUSY with its sentence: five others are in use. */
int access_open(struct access_table *t, const struct access_wanted *w,
		struct access_lease **ret) MUST_USE;
void access_close(struct access_lease *l);
DROP_DEFINE(access_lease, struct access_lease *, access_close)

/* Counted. */
struct access_url {
	struct secret *kept;
	const char *text; /* in it */
	unsigned number;  /* of the asking it came from */
	int refs;	  /* atomic */
};
void access_url_unref(struct access_url *u);
DROP_DEFINE(access_url, struct access_url *, access_url_unref)

/* The address as it is now. refused: the number of one that the storage service
 * refused, 0 for none: then it is asked for anew, unless somebody did already. */
int access_get(struct access_lease *l, unsigned refused,
	       struct access_url **ret) MUST_USE;
