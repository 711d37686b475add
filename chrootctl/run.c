/* SPDX-License-Identifier: GPL-2.0-or-later */
/* run.c: owns the signals of the process and the wait for its child. It serves
 * both processes of a session: chrootctl outside, which waits for init, and
 * init inside, which waits for the command.
 *
 * Signals. chrootctl and the command are in one process group (as with
 * `unshare --fork`), so what the terminal sends reaches the command by itself:
 * Ctrl-C, Ctrl-Z (which also stops chrootctl, so that the user's shell gets
 * its prompt back), a change of size. Hence only signals that another process
 * sent are passed on, which the kernel marks with si_code <= 0: chrootctl
 * passes them to init, init to the command. SIGHUP is passed on always: when a
 * terminal goes away the command may no longer be in its foreground.
 *
 * The signals are blocked and taken by sigwaitinfo(2): no handler, no race.
 * Blocked signals are also the only ones that reach an init at all.
 */
#include "run.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "msg.h"
#include "status.h"

static const int passed_on[] = { SIGINT,  SIGQUIT, SIGTERM, SIGHUP,
				 SIGUSR1, SIGUSR2, SIGWINCH };

static sigset_t taken, original;
static int interrupted;
static pid_t foreground; /* our process group, if it was the terminal's */

void run_take_signals(void)
{
	struct sigaction reap = { .sa_handler = SIG_DFL };

	(void)sigemptyset(&taken);
	(void)sigaddset(&taken, SIGCHLD);
	for (size_t i = 0; i < ARRAY_LEN(passed_on); i++)
		(void)sigaddset(&taken, passed_on[i]);
	(void)sigprocmask(SIG_BLOCK, &taken, &original);
	/* If it was ignored by whoever started us, there would be no status to
	 * wait for. */
	(void)sigaction(SIGCHLD, &reap, NULL);
}

static int open_aside(void)
{
	CLEANUP_CLOSE int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (null < 0 || dup2(null, STDIN_FILENO) < 0 ||
	    dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
		return -errno;
	return 0;
}

static void __attribute__((noreturn)) execute(const struct run_command *c)
{
	int err;

	if (c->directory && chdir(c->directory) < 0)
		(void)!chdir("/");
	if (c->aside && open_aside() < 0) {
		msg_error("cannot start %s: /dev/null: %s", c->file,
			  msg_strerror(errno));
		_exit(STATUS_FAILED);
	}
	(void)sigprocmask(SIG_SETMASK, &original, NULL);
	(void)execvpe(c->file, c->argv, c->env ? c->env : environ);
	err = errno;
	msg_error("cannot execute %s: %s", c->file, msg_strerror(err));
	_exit(err == ENOENT ? STATUS_NOT_FOUND : STATUS_NOT_EXECUTABLE);
}

int run_spawn(const struct run_command *c, pid_t *ret)
{
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0)
		execute(c);
	*ret = pid;
	return 0;
}

/* Reaps all that have ended; true when @pid was among them. */
static bool reap(pid_t pid, int *ret_status)
{
	bool found = false;
	int status;
	pid_t ended;

	while ((ended = waitpid(-1, &status, WNOHANG)) > 0) {
		if (ended != pid)
			continue;
		*ret_status = WIFSIGNALED(status)
				      ? STATUS_SIGNAL + WTERMSIG(status)
				      : WEXITSTATUS(status);
		found = true;
	}
	return found;
}

int run_wait(pid_t pid)
{
	siginfo_t info;
	int status = 0;

	for (;;) {
		int sig = sigwaitinfo(&taken, &info);

		if (sig == SIGCHLD && reap(pid, &status))
			return status;
		if (sig < 0 || sig == SIGCHLD)
			continue;
		if (sig == SIGINT || sig == SIGQUIT || sig == SIGTERM ||
		    sig == SIGHUP)
			interrupted = sig;
		if (info.si_code <= 0 || sig == SIGHUP)
			(void)kill(pid, sig);
	}
}

int run_interrupted(void)
{
	return interrupted;
}

void run_keep_terminal(void)
{
	pid_t group = getpgrp();

	if (tcgetpgrp(STDIN_FILENO) == group)
		foreground = group;
}

void run_reclaim_terminal(void)
{
	sigset_t ttou, before;

	if (!foreground)
		return;
	/* Asked from the background, the terminal would stop us first. */
	(void)sigemptyset(&ttou);
	(void)sigaddset(&ttou, SIGTTOU);
	(void)sigprocmask(SIG_BLOCK, &ttou, &before);
	(void)tcsetpgrp(STDIN_FILENO, foreground);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
}
