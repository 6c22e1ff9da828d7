/*
 * learn/series_calibration.c
 *	  The calibration of one series of a trained model on all of its rows.
 *
 * The scaling of the series comes from its rows, its transforms from the model.  Then the steps
 * of a calibration follow (calibrate.c).
 */
#include "postgres.h"
#include "pg/compat.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "learn/calibrate.h"
#include "learn/series_calibration.h"

/* Memory that the calibration of a number of rows takes, with the rows. */
static Size
calibration_row_bytes(const Model *m)
{
	const Size	fixed = calibrate_bytes(m, 0);

	return calibrate_bytes(m, 1) - fixed + series_row_bytes(m->features) +
		sizeof(float) * m->features + sizeof(int64) + IMPUTED_BYTES(m->features);
}

int64
series_calibration_rows(const Model *m)
{
	const Size	limit = (Size) maintenance_work_mem * 1024;
	const Size	fixed = calibrate_bytes(m, 0);
	const Size	row = calibration_row_bytes(m);
	int64		rows = limit > fixed ? (int64) ((limit - fixed) / 2 / row) : 0;

	if (rows < m->plan.warmup + m->plan.chunk_rows)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("memory required for calibration is %zu MB, maintenance_work_mem is %d MB",
						(fixed + 2 * row * (m->plan.warmup + m->plan.chunk_rows)) / (1024 * 1024) +
							1,
						maintenance_work_mem / 1024),
				 errhint("Raise maintenance_work_mem.")));
	return rows;
}

/* Sets the counts of the summary that the dataset knows. */
static void
summarize_dataset(const Dataset *d, SeriesSummary *s)
{
	const DatasetFacts *facts = &d->facts;

	s->counts[SUMMARY_OFFERED] = facts->offered;
	s->counts[SUMMARY_ROWS] = d->nrows;
	s->counts[SUMMARY_GAPS] = facts->gaps;
	s->counts[SUMMARY_IMPUTED] = facts->values.imputed;
	s->counts[SUMMARY_IMPUTED_ROWS] = facts->values.imputed_rows;
	s->counts[SUMMARY_DUPLICATES] = facts->duplicates;
	s->counts[SUMMARY_WITHOUT_TS] = facts->without_ts;
	s->counts[SUMMARY_LABELLED] = facts->labelled;
	for (int i = 0; i < d->nruns; i++)
		for (int64 place = 0, end; place < d->runs[i].rows; place = end)
			if (dataset_held_out(d, &d->runs[i], place, &end))
				s->counts[SUMMARY_HELD_OUT] += end - place;
	memcpy(s->given[SUMMARY_KNOWN], d->series[0].known, sizeof(int64) * d->features);
}

bytea *
series_calibration_finish(Model *m, uint32 model_id, Dataset *d)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext work = AllocSetContextCreate(caller, "amad calibration", ALLOCSET_DEFAULT_SIZES);
	SeriesCalibration c = {0};
	bytea	   *value = NULL;

	MemoryContextSwitchTo(work);
	if (dataset_finish_calibration(d, &m->stats))
	{
		const DatasetSeries *s = &d->series[0];

		budget_check(&d->budget, "calibration", calibrate_bytes(m, d->nrows));
		figures_create(&c.stats, &m->sizes);
		memcpy(c.stats.mean, s->mean, sizeof(double) * m->features);
		memcpy(c.stats.std, s->std, sizeof(double) * m->features);
		c.stats.step = s->step;
		c.stats.max_gap = s->max_gap;
		c.summary = summary_open(m->features, m->plan.signals);
		summarize_dataset(d, c.summary);
		c.own = calibrate_series(m, d, &c.stats, c.summary);
		MemoryContextSwitchTo(caller);
		value = calibration_encode(m, model_id, &c);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(work);
	dataset_close(d);
	return value;
}
