/*
 * tap.h
 *	  Test points in the Test Anything Protocol.
 */
#ifndef TAP_H
#define TAP_H

#include <stdbool.h>

/* Reports a test point; returns cond. */
extern bool ok(bool cond, const char *name, ...) __attribute__((format(printf, 2, 3)));

/* Reports a test point that cannot be run here. */
extern void skip(const char *why, const char *name);

/* Prints a comment, usually after a point that failed. */
extern void note(const char *text, ...) __attribute__((format(printf, 1, 2)));

/* Prints the plan; returns the program's exit status. */
extern int	done(void);

#endif							/* TAP_H */
