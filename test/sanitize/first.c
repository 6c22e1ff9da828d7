/*
 * first.c
 *	  Starts AddressSanitizer before anything else of a server's process.
 *
 * Preloaded beside libasan, and linked so that its constructor is the first
 * to run (-z initfirst).  Else the sanitizer starts at the first malloc(), which
 * may be that of bindtextdomain() in the constructor of another library, as
 * libgpg-error's.  That one holds glibc's lock of translations, the sanitizer's
 * start fails to find an optional symbol, dlerror() translates its message and
 * needs the same lock: the process waits for itself forever.
 */
#include <stdlib.h>

void	   *volatile amad_first_block;

__attribute__((constructor))
static void
allocate_first_block(void)
{
	amad_first_block = malloc(1);
	free(amad_first_block);
}
