/* SPDX-License-Identifier: GPL-2.0-or-later */
/* arch.h: can this machine run that program? Decided from the first bytes of
 * two ELF files, without executing either.
 */
#pragma once

#include "base.h"

enum { ARCH_HEADER_BYTES = 128 }; /* as much as binfmt_misc looks at */

struct arch {
	uint16_t machine;	/* EM_* */
	unsigned char bits;	/* ELFCLASS32 or ELFCLASS64 */
	unsigned char encoding; /* ELFDATA2LSB or ELFDATA2MSB */
};

enum arch_fit {
	ARCH_NATIVE,
	ARCH_COMPAT32, /* runs; wants personality PER_LINUX32 */
	ARCH_EMULATED, /* runs by an interpreter registered with binfmt_misc */
	ARCH_FOREIGN,  /* does not run */
};

/* Reads the ELF header in the @len bytes at @bytes. -ENOEXEC: it is none. */
int arch_parse(const void *bytes, size_t len, struct arch *ret);

/* This machine's, from the running program itself. -errno. */
int arch_self(struct arch *ret);

/* Whether the kernel of a machine whose native programs are @own runs
 * programs of @other by itself. Pure. */
enum arch_fit arch_fit(const struct arch *own, const struct arch *other);

/* Does one binfmt_misc entry, the text of its file, match the @len bytes at
 * @bytes, being enabled and with flag F? Without that flag the interpreter
 * would be looked for inside the root. Pure. */
bool arch_binfmt_match(const char *entry, const void *bytes, size_t len);

/* The same for all entries registered on this machine. False also when
 * binfmt_misc is not mounted. */
bool arch_emulated(const void *bytes, size_t len);

/* "x86-64, 64-bit, little-endian" into @buf; returns @buf. */
const char *arch_describe(const struct arch *a, char *buf, size_t size);
