/*
 * tap.h
 *	  Test points in the Test Anything Protocol.
 */
#ifndef TAP_H
#define TAP_H

#include <stdbool.h>

/* One test point; returns cond. */
extern bool ok(bool cond, const char *name, ...) __attribute__((format(printf, 2, 3)));

/* A test point that cannot be tried here. */
extern void skip(const char *why, const char *name);

/* A comment, mostly after a point that failed. */
extern void note(const char *text, ...) __attribute__((format(printf, 1, 2)));

/* The plan; returns the program's exit status. */
extern int	done(void);

#endif							/* TAP_H */
