/* SPDX-License-Identifier: GPL-2.0-or-later */
/* daemon_int.h: private to daemon.c, which owns the process and the order of its
 * layers, and layers.c, which has those that know no mount: the server and all
 * that is kept of it.
 */
#pragma once

#include "../cache/blob.h"
#include "area.h"
#include "contents.h"
#include "control.h"
#include "record.h"
#include "daemon.h"
#include "flush.h"
#include "fuse_session.h"
#include "lease.h"
#include "status.h"

enum state { OPENING, LEASING, MOUNTING, SERVING, CLOSING, ENDED };

struct daemon {
	struct config *config;
	const struct cachedir *cache;

	struct mutex lock;
	enum state state;   /* under lock */
	unsigned signals_n; /* under lock: how often we were asked to end */
	int wake_fd;        /* eventfd: the main thread has something to do */
	bool gone;          /* atomic: the kernel has let go of the mount */

	struct stats stats;
	struct remote *remote;
	struct handle root;
	struct meta *meta;
	struct blob *blob; /* NULL: contents are not kept */
	struct contents *contents;
	struct record *record; /* NULL: nobody wants to know */
	struct lease *lease; /* NULL: read-only */
	struct wback *wback;
	struct flush *flush; /* NULL: read-only */
	bool pending;        /* changes stay in the log */
	struct vfs *vfs;
	struct fuse_front *front;
	pthread_t runner;
	struct areas areas;
	struct status_source status;
	struct control *control;
};

/* ---- daemon.c ---- */

void daemon_enter(struct daemon *d, enum state state);
bool daemon_asked_to_end(struct daemon *d);
enum exitcode daemon_system_error(const char *what, int err);

/* ---- layers.c ---- */

enum exitcode layer_server_open(struct daemon *d);
void layer_server_close(struct daemon *d);
enum exitcode layer_cache_open(struct daemon *d);
void layer_cache_close(struct daemon *d);
enum exitcode layer_contents_open(struct daemon *d);
void layer_contents_close(struct daemon *d);
enum exitcode layer_record_open(struct daemon *d);
void layer_record_close(struct daemon *d);
enum exitcode layer_lease_open(struct daemon *d);
void layer_lease_close(struct daemon *d);
enum exitcode layer_journal_open(struct daemon *d);
void layer_journal_close(struct daemon *d);
enum exitcode layer_files_open(struct daemon *d);
void layer_files_close(struct daemon *d);
enum exitcode layer_sending_open(struct daemon *d);
void layer_sending_close(struct daemon *d);
