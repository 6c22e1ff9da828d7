/*
 * learn/calibrate_source.c
 *	  The calibration of a model on all rows of a source, series by series.
 *
 * The source is read again.  When a series ends, it is calibrated, and its rows are released: only
 * a small value of it remains.  Of a series that does not fit in half of maintenance_work_mem, the
 * newest rows are used.
 *
 * If the rows are on several nodes, each node does so for the series that it has, with the aggregate
 * amad_calibrate_rows, and only the values are sent.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "learn/calibrate_source.h"
#include "learn/merge_calibrations.h"
#include "learn/series_calibration.h"
#include "model/codec.h"
#include "rows/dataset.h"
#include "rows/source_groups.h"
#include "rows/source_shards.h"

/* The series that is being read, and those before it. */
typedef struct SeriesReading
{
	MemoryContext context;		/* the visitor's own is reset */
	MemoryContext series;		/* for the values of a series */
	Model	   *model;
	int64		newest;			/* rows of a series at most */
	char	   *key;			/* of the open series; NULL: there are no series */
	Dataset    *dataset;		/* its rows; NULL: none is open */
	Calibrations *calibrations;
} SeriesReading;

static void
end_read_series(SeriesReading *r)
{
	MemoryContext old = MemoryContextSwitchTo(r->series);
	bytea	   *value;

	if (r->dataset == NULL)
	{
		MemoryContextSwitchTo(old);
		return;
	}
	value = series_calibration_finish(r->model, 0, r->dataset);
	r->dataset = NULL;
	if (value)
		calibrations_add(r->calibrations, r->key, value);
	MemoryContextSwitchTo(old);
	MemoryContextReset(r->series);
}

static void
read_series_row(const SourceRow *row, void *arg)
{
	SeriesReading *r = arg;
	MemoryContext old = MemoryContextSwitchTo(r->context);

	if (row->new_series)
	{
		end_read_series(r);
		r->key = r->model->nseries_cols > 0 ? MemoryContextStrdup(r->series, row->new_series)
											: NULL;
		r->dataset = dataset_open_calibration(r->context, r->model, r->newest);
		dataset_begin(r->dataset, NULL);
	}
	if (!row->ts_valid)
		r->dataset->facts.without_ts++;
	else if (row->duplicate)
		r->dataset->facts.duplicates++;
	else if (row->bad)
	{
		r->dataset->facts.labelled++;
		dataset_skip(r->dataset);
	}
	else
		dataset_add(r->dataset, row->ts, row->values);
	MemoryContextSwitchTo(old);
}

static Calibrations *
calibrate_here(Model *m, const Source *source, const SourceRange *range)
{
	SeriesReading r = {
		.context = CurrentMemoryContext,
		.series = AllocSetContextCreate(CurrentMemoryContext, "amad series calibration",
										ALLOCSET_DEFAULT_SIZES),
		.model = m,
		.newest = series_calibration_rows(m),
		.calibrations = calibrations_open(),
	};

	source_scan(source, range, false, read_series_row, &r);
	end_read_series(&r);
	return r.calibrations;
}

/* ---- where the rows are ---------------------------------------------------------------------- */

bool
calibrated_remotely(const Source *source)
{
	const char *column;

	/* the times of incidents are known here only */
	return source->bad == NULL && source_is_sharded(source, &column);
}

static void
receive_calibration(const char *key, const Datum *values, const bool *nulls, void *arg)
{
	if (!nulls[0])
		calibrations_add(arg, key, DatumGetByteaPP(values[0]));
}

static Calibrations *
calibrate_there(struct varlena *model, const Source *source, const SourceRange *range)
{
	const Oid	schema = get_func_namespace(source->spec.function);
	const char *name = get_namespace_name(schema);
	const Oid	result = BYTEAOID;
	SourceAggregates aggregates = {
		.n = 1,
		.types = &result,
		.value_type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("amad_model"),
									  ObjectIdGetDatum(schema)),
		.value = PointerGetDatum(model),
	};
	Calibrations *calibrations = calibrations_open();

	if (name == NULL || !OidIsValid(aggregates.value_type))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("extension amad was dropped")));
	aggregates.select = psprintf("%s.amad_calibrate_rows((SELECT value FROM amad_value), %s)",
								 quote_identifier(name), source_row_columns(source));
	source_scan_groups(source, range, &aggregates, receive_calibration, calibrations);
	return calibrations;
}

SeriesSummary *
calibrate_source(Model *m, const Source *source, const SourceRange *range, int *nseries)
{
	const bool	remotely = calibrated_remotely(source);
	struct varlena *value = remotely ? model_encode(m) : NULL;
	Calibrations *calibrations = remotely ? calibrate_there(value, source, range)
										  : calibrate_here(m, source, range);

	*nseries = calibrations->n;
	return merge_calibrations(m, remotely ? calibration_model_id(value) : 0, calibrations);
}
