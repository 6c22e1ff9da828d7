/*
 * tap.c
 *	  Test points in the Test Anything Protocol.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "tap.h"

static int	points;
static int	failures;

bool
ok(bool cond, const char *name, ...)
{
	va_list		args;

	va_start(args, name);
	printf("%s %d - ", cond ? "ok" : "not ok", ++points);
	vprintf(name, args);
	putchar('\n');
	va_end(args);
	if (!cond)
		failures++;
	/* the next test may crash: report how far we came */
	fflush(stdout);
	return cond;
}

void
skip(const char *why, const char *name)
{
	printf("ok %d - %s # SKIP %s\n", ++points, name, why);
}

void
note(const char *text, ...)
{
	va_list		args;

	va_start(args, text);
	fputs("# ", stdout);
	vprintf(text, args);
	putchar('\n');
	va_end(args);
}

int
done(void)
{
	printf("1..%d\n", points);
	return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
