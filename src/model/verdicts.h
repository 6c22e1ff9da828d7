/*
 * model/verdicts.h
 *	  Verdicts: what people have said of incidents of a watch, and of times of its series.
 */
#ifndef AMAD_MODEL_VERDICTS_H
#define AMAD_MODEL_VERDICTS_H

#include "nodes/pg_list.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#define VERDICTS_TABLE "amad_verdicts"
#define WATCHES_TABLE "amad_watches"

/* Bits, so that several can be asked for. */
typedef enum VerdictKind
{
	VERDICT_INCIDENT = 1,		/* not rows to learn from */
	VERDICT_FALSE_ALARM = 2,	/* the like is not announced */
	VERDICT_EXPECTED = 4		/* not an incident */
} VerdictKind;

/* A row of amad_verdicts. */
typedef struct GivenVerdict
{
	VerdictKind kind;
	Jsonb	   *series;			/* an object of values; NULL: all series */
	int64		first;			/* as in amad_changes */
	int64		last;
	bool		integers;		/* these are not times */

	/* of a false alarm; feature NULL: it had none that can be compared */
	char	   *feature;
	bool		above;			/* the actual value was above the expected one */
	double		peak_severity;
	int			training_version;
	bool		has_until;
	TimestampTz until;
} GivenVerdict;

/* The verdict of a name; false if there is none. */
extern bool verdict_kind(const char *name, VerdictKind *kind);

/*
 * The verdicts of some kinds on a watch, or on that of a role's model (InvalidOid: none), in the
 * order of their begin, as a list of GivenVerdict.  function: in the schema of the extension.
 * Rows that make no sense are left out.
 */
extern List *verdicts_of_watch(Oid function, const pg_uuid_t *watch, int kinds);
extern List *verdicts_of_model(Oid function, Oid owner, const char *model_name, int kinds);

#endif							/* AMAD_MODEL_VERDICTS_H */
