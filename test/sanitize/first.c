/*
 * first.c
 *	  Starts the sanitizers before anything else in a server process.
 *
 * Preloaded beside libasan, and linked so that its constructor is the first
 * to run (-z initfirst).
 *
 * Otherwise AddressSanitizer starts at the first malloc(), which may be in the
 * constructor of another library.  That of libgpg-error calls bindtextdomain(),
 * which holds glibc's lock of translations meanwhile.  The sanitizer's start
 * looks for an optional symbol, does not find it and calls dlerror(), which
 * translates its message: the process waits for its own lock forever.
 *
 * UndefinedBehaviorSanitizer starts at its first report and reads its options
 * from /proc/self/environ, which the title of the server process has replaced by
 * then.  So they are kept here.
 */
#include <stdlib.h>
#include <string.h>

extern const char *__ubsan_default_options(void);

void *volatile amad_first_block;
static char ubsan_options[1024];

/* libc has no environment yet. */
__attribute__((constructor)) static void
start(int argc, char **argv, char **envp)
{
	const char *name = "UBSAN_OPTIONS=";

	(void) argc;
	(void) argv;
	amad_first_block = malloc(1);
	free(amad_first_block);
	for (; *envp != NULL; envp++)
		if (strncmp(*envp, name, strlen(name)) == 0)
			strncpy(ubsan_options, *envp + strlen(name), sizeof(ubsan_options) - 1);
}

const char *
__ubsan_default_options(void)
{
	return ubsan_options;
}
