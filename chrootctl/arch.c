/* SPDX-License-Identifier: GPL-2.0-or-later */
/* arch.c: owns the knowledge of ELF identification and of the text form of
 * binfmt_misc entries. No state.
 *
 * The header belongs to a file on the server and is untrusted: it is only
 * compared, nothing in it is followed.
 */
#include "arch.h"

#include <ctype.h>
#include <dirent.h>
#include <elf.h>
#include <endian.h>
#include <fcntl.h>
#include <string.h>

static const char binfmt_dir[] = "/proc/sys/fs/binfmt_misc";

static const struct {
	uint16_t machine;
	const char *name;
} machine_names[] = {
	{ EM_386, "i386" },	   { EM_X86_64, "x86-64" },
	{ EM_ARM, "arm" },	   { EM_AARCH64, "aarch64" },
	{ EM_RISCV, "riscv" },	   { EM_MIPS, "mips" },
	{ EM_PPC, "powerpc" },	   { EM_PPC64, "powerpc64" },
	{ EM_S390, "s390" },	   { EM_SPARC, "sparc" },
	{ EM_SPARCV9, "sparc64" }, { EM_LOONGARCH, "loongarch" },
	{ EM_68K, "m68k" },	   { EM_ALPHA, "alpha" },
	{ EM_PARISC, "parisc" },
};

/* 64-bit kernels that also run the 32-bit programs of a sibling. The byte
 * order must be the same; riscv and mips have one number for both widths. */
static const struct {
	uint16_t native, compat;
} siblings[] = {
	{ EM_X86_64, EM_386 }, { EM_AARCH64, EM_ARM }, { EM_PPC64, EM_PPC },
	{ EM_S390, EM_S390 },  { EM_MIPS, EM_MIPS },   { EM_SPARCV9, EM_SPARC },
};

int arch_parse(const void *bytes, size_t len, struct arch *ret)
{
	const unsigned char *b = bytes;
	uint16_t raw;

	/* e_machine has the same place in both widths. */
	if (len < sizeof(Elf32_Ehdr) || memcmp(b, ELFMAG, SELFMAG) != 0)
		return -ENOEXEC;
	if (b[EI_CLASS] != ELFCLASS32 && b[EI_CLASS] != ELFCLASS64)
		return -ENOEXEC;
	if (b[EI_DATA] != ELFDATA2LSB && b[EI_DATA] != ELFDATA2MSB)
		return -ENOEXEC;
	memcpy(&raw, b + offsetof(Elf32_Ehdr, e_machine), sizeof(raw));
	ret->machine = b[EI_DATA] == ELFDATA2LSB ? le16toh(raw) : be16toh(raw);
	ret->bits = b[EI_CLASS];
	ret->encoding = b[EI_DATA];
	return 0;
}

int arch_self(struct arch *ret)
{
	CLEANUP_CLOSE int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	unsigned char bytes[ARCH_HEADER_BYTES];
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, bytes, sizeof(bytes));
	if (n < 0)
		return -errno;
	return arch_parse(bytes, (size_t)n, ret);
}

enum arch_fit arch_fit(const struct arch *own, const struct arch *other)
{
	if (own->encoding != other->encoding)
		return ARCH_FOREIGN;
	if (own->machine == other->machine && own->bits == other->bits)
		return ARCH_NATIVE;
	if (own->bits != ELFCLASS64 || other->bits != ELFCLASS32)
		return ARCH_FOREIGN;
	for (size_t i = 0; i < ARRAY_LEN(siblings); i++)
		if (siblings[i].native == own->machine &&
		    siblings[i].compat == other->machine)
			return ARCH_COMPAT32;
	return ARCH_FOREIGN;
}

/* The value of the line of @entry that starts with @key, or NULL. */
static const char *entry_line(const char *entry, const char *key)
{
	size_t len = strlen(key);

	for (const char *p = entry; p; p = strchr(p, '\n')) {
		p += *p == '\n';
		if (strncmp(p, key, len) == 0)
			return p + len;
	}
	return NULL;
}

/* The hexadecimal digits at @hex into at most ARCH_HEADER_BYTES bytes; returns
 * how many, 0 when the text is not of that form. */
static size_t hex_bytes(const char *hex, unsigned char *ret)
{
	size_t n = 0;
	unsigned value;

	while (isxdigit((unsigned char)hex[0])) {
		if (n == ARCH_HEADER_BYTES || sscanf(hex, "%2x", &value) != 1 ||
		    !isxdigit((unsigned char)hex[1]))
			return 0;
		ret[n++] = (unsigned char)value;
		hex += 2;
	}
	return n;
}

bool arch_binfmt_match(const char *entry, const void *bytes, size_t len)
{
	const char *flags = entry_line(entry, "flags:");
	const char *magic_hex = entry_line(entry, "magic ");
	const char *mask_hex = entry_line(entry, "mask ");
	const char *offset_text = entry_line(entry, "offset ");
	unsigned char magic[ARCH_HEADER_BYTES], mask[ARCH_HEADER_BYTES];
	const unsigned char *b = bytes;
	size_t n, offset = offset_text ? strtoul(offset_text, NULL, 10) : 0;

	if (strncmp(entry, "enabled", 7) != 0 || !flags || !magic_hex)
		return false;
	if (!memchr(flags, 'F', strcspn(flags, "\n")))
		return false;
	n = hex_bytes(magic_hex, magic);
	memset(mask, 0xff, sizeof(mask));
	if (mask_hex && hex_bytes(mask_hex, mask) != n)
		return false;
	if (n == 0 || offset > len || n > len - offset)
		return false;
	for (size_t i = 0; i < n; i++)
		if ((b[offset + i] ^ magic[i]) & mask[i])
			return false;
	return true;
}

bool arch_emulated(const void *bytes, size_t len)
{
	DIR *dir = opendir(binfmt_dir);
	const struct dirent *de;
	bool found = false;

	while (dir && !found && (de = readdir(dir))) {
		CLEANUP_CLOSE int fd = -1;
		char entry[2048];
		ssize_t n;

		/* "register" and "status" do not have the form of an entry. */
		if (de->d_name[0] == '.' || strcmp(de->d_name, "register") == 0)
			continue;
		fd = openat(dirfd(dir), de->d_name, O_RDONLY | O_CLOEXEC);
		n = fd < 0 ? -1 : read(fd, entry, sizeof(entry) - 1);
		if (n <= 0)
			continue;
		entry[n] = '\0';
		found = arch_binfmt_match(entry, bytes, len);
	}
	if (dir)
		(void)closedir(dir);
	return found;
}

const char *arch_describe(const struct arch *a, char *buf, size_t size)
{
	const char *name = NULL;
	char number[32];

	(void)snprintf(number, sizeof(number), "ELF machine %u", a->machine);
	for (size_t i = 0; i < ARRAY_LEN(machine_names) && !name; i++)
		if (machine_names[i].machine == a->machine)
			name = machine_names[i].name;
	(void)snprintf(buf, size, "%s, %d-bit, %s-endian", name ? name : number,
		       a->bits == ELFCLASS64 ? 64 : 32,
		       a->encoding == ELFDATA2LSB ? "little" : "big");
	return buf;
}
