/* SPDX-License-Identifier: GPL-2.0-or-later */
/* flight.h: questions to the server about one inode: its attributes (one
 * GETATTR); of a symlink, its target (READLINK); of a directory, its names with
 * all their attributes (READDIRPLUS, page by page). A question that is under way
 * is a flight; who needs the same answer waits for it instead of asking again, or
 * nobody does, and then hundreds may be under way for the price of their memory.
 */
#pragma once

#include <sys/queue.h>

#include "vfs_int.h"

enum question { ASK_ATTR, ASK_LINK, ASK_LIST };

/* Ask about *@i, or join who does, and wait. Returns 0 when the answer is in the
 * cache; what it is worth for an operation that began at @since is for the
 * caller to look at again.
 *
 * @need: whose attributes the caller is after; when they are trusted by the time
 * its question would be sent, somebody else's answer has come, and nothing is.
 * ASK_LIST with @need 0: the directory itself, complete.
 *
 * An ASK_ATTR may be answered by the first page of a listing. One that takes
 * longer than LIMIT_REVALIDATE_MS while the server is away is a success without
 * news.
 *
 * -EAGAIN: not @patient, and the listing proved long; it goes on behind. -EINTR:
 * interrupted; the flight goes on. Otherwise what the server said. */
int flight_wait(struct vfs *v, const struct caller *c, enum question q,
		const struct meta_inode *i, uint64_t need, uint64_t since,
		bool patient);

/* Who is told of the end of what nobody waits for. */
enum owner { FOR_AHEAD = 1, FOR_TOUR = 2 }; /* ahead_landed(), tours_landed() */

/* Ask about *@i without waiting, or have @owner told of the end of who does: then
 * it returns 1, else 0 or -errno. The end may come before it returns. */
int flight_start(struct vfs *v, enum question q, const struct meta_inode *i,
		 enum owner owner);

/* May one more be started, where the owner has @n under way and wants no more than
 * @most? Not many are while somebody waits for the server, whose queue they would
 * stand in. */
bool flights_have_room(struct vfs *v, unsigned n, unsigned most);

/* The worker's share: moves one flight on that has a reply which nobody waits
 * for. False: there is none. vfs.lock is not held. */
bool flights_work(struct vfs *v);
void flights_free(struct vfs *v); /* after the last submitted call */

/* ---- between flight.c and vfs_dir.c ---- */

struct flight {
	struct vfs *v;
	enum question q;
	uint64_t ino;
	struct handle fh;

	/* Under vfs.lock: */
	struct flight *next;      /* in its slot of vfs.flights */
	TAILQ_ENTRY(flight) reply; /* in vfs.replies */
	struct cond cond;         /* for those who wait: moved on */
	unsigned refs, waiters;
	bool arrived; /* .call has come back, and nobody has taken it */
	bool queued;  /* in vfs.replies */
	unsigned owners; /* enum owner */
	bool first;   /* the first reply has been taken */
	bool landed;
	int status;
	uint64_t stamp; /* from before the first call of this try */
	unsigned pages; /* taken, those of earlier tries too */
	bool set_out;   /* the directory was looked at: .epoch counts */
	uint32_t epoch; /* that the names are written under */
	char **ours;    /* names changed by us meanwhile */
	size_t ours_n;

	/* Only who moves it on: */
	struct remote_call *call;
	struct moment when; /* of the call; all 0: none was sent */
	uint64_t cookie;
	uint8_t verf[8];
	unsigned tries;
	uint32_t based_on; /* the directory's epoch as of the first page */
	bool renew;        /* it is complete: as long as it proves unchanged,
			    * its names stay as they are */
};

/* A listing of @dir under way, or NULL: also as long as it has not set out, for
 * then its first page will tell what is changed now. */
struct flight *flight_listing(struct vfs *v, uint64_t dir) REQUIRES(v->lock);

/* Make f->call the next page's. */
int listing_prepare(struct vfs *v, struct flight *f);
/* Take the page of @call. 0: that was the last; -EINPROGRESS: more to come, or
 * once more from the start. */
int listing_take(struct vfs *v, struct flight *f,
		 const struct remote_call *call);
/* It failed, and is about to land. */
void listing_failed(struct vfs *v, const struct flight *f);
