/* For user-mode Linux before 6.14 on processors with wide registers (AMX): it writes back the part of the registers that it has
 * room for, and the kernel takes all or nothing (EFAULT). Here the rest is added as it is. Loaded with LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#define WIDEST (1 << 16)

long ptrace(enum __ptrace_request request, ...) {
	static long (*real)(enum __ptrace_request, ...);
	static char whole[WIDEST];
	va_list arguments;

	va_start(arguments, request);
	pid_t pid = va_arg(arguments, pid_t);
	void *address = va_arg(arguments, void *);
	void *data = va_arg(arguments, void *);
	va_end(arguments);
	if (!real)
		real = (long (*)(enum __ptrace_request, ...))dlsym(RTLD_NEXT, "ptrace");

	long result = real(request, pid, address, data);
	if (request != PTRACE_SETREGSET || (long)address != NT_X86_XSTATE || result == 0 || errno != EFAULT)
		return result;
	struct iovec *part = data, all = { whole, sizeof(whole) };
	if (real(PTRACE_GETREGSET, pid, address, &all) != 0 || part->iov_len > all.iov_len)
		return -1;
	memcpy(whole, part->iov_base, part->iov_len);
	return real(PTRACE_SETREGSET, pid, address, &all);
}
