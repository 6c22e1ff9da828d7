/*
 * operate/compare.c
 *	  The functions amad_compare and amad_compare_bigint: what two versions of a model make of the
 *	  same rows.
 *
 *		amad_compare(model_name, version, other_version, since, until, series, source,
 *					 timestamp_col) → two rows, one for each version
 *
 * The source is read once for each version, as by amad_detect.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "model/registry.h"
#include "pg/call_arguments.h"
#include "pg/rowset.h"
#include "score/comparison.h"
#include "score/detect_arguments.h"

/* Arguments, in their order. */
enum
{
	ARG_MODEL_NAME,
	ARG_VERSION,
	ARG_OTHER_VERSION,
	ARG_SINCE,
	ARG_UNTIL,
	ARG_SERIES,
	ARG_SOURCE,
	ARG_TIMESTAMP_COL
};

/* Columns of the result, in their order. */
enum
{
	COL_VERSION,
	COL_ROWS,
	COL_SCORED,
	COL_FLAGGED,
	COL_FLAGGED_BOTH,
	COL_LEARNING,
	COL_DRIFT,
	COL_EVENTS,
	COL_EVENTS_KEPT,
	COL_EVENTS_PER_DAY,
	COL_MEDIAN,
	COLUMNS
};

SQL_FUNCTION(amad_compare);

static void
add_compared_row(const DetectedRow *row, void *comparison)
{
	comparison_add(comparison, row, true);
}

static void
put_version(Rowset *rowset, int version, const ComparedVersion *v, const Compared *both)
{
	Datum		values[COLUMNS] = {
		[COL_VERSION] = Int32GetDatum(version),
		[COL_ROWS] = Int64GetDatum(v->rows),
		[COL_SCORED] = Int64GetDatum(v->scored),
		[COL_FLAGGED] = Int64GetDatum(v->flagged),
		[COL_FLAGGED_BOTH] = Int64GetDatum(both->flagged_both),
		[COL_LEARNING] = Int64GetDatum(v->learning),
		[COL_DRIFT] = Int64GetDatum(v->drift),
		[COL_EVENTS] = Int64GetDatum(v->events),
		[COL_EVENTS_KEPT] = Int64GetDatum(v->kept),
		[COL_EVENTS_PER_DAY] = Float8GetDatum(v->events / both->days),
		[COL_MEDIAN] = Float8GetDatum(v->median),
	};
	bool		nulls[COLUMNS] = {
		[COL_EVENTS_PER_DAY] = isnan(both->days),
		[COL_MEDIAN] = isnan(v->median),
	};

	rowset_add(rowset, values, nulls);
}

Datum
amad_compare(PG_FUNCTION_ARGS)
{
	Rowset		rowset = rowset_open(fcinfo);
	Comparison *comparison = comparison_open();
	DetectSpec	spec = read_detect_arguments(fcinfo, ARG_SINCE, ARG_SOURCE, ARG_TIMESTAMP_COL);
	int			versions[2];
	Compared	result;

	spec.parallel = true;
	if (!PG_ARGISNULL(ARG_SERIES))
		spec.series = PG_GETARG_JSONB_P(ARG_SERIES);
	for (int i = 0; i < 2; i++)
	{
		Detection  *detection;

		spec.version = registry_version(fcinfo, i == 0 ? ARG_VERSION : ARG_OTHER_VERSION);
		detection = detect_open(&spec);
		versions[i] = detect_model(detection)->version;
		comparison_begin(comparison, i, detection);
		detect_run(detection, add_compared_row, comparison);
		comparison_end(comparison);
	}
	result = comparison_result(comparison);
	for (int i = 0; i < 2; i++)
		put_version(&rowset, versions[i], &result.version[i], &result);
	return (Datum) 0;
}
