/*
 * learn/calibration_rows.c
 *	  The rows that a calibration computes figures from, and which of them count.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "miscadmin.h"

#include "core/evidence/quantile.h"
#include "learn/calibration_rows.h"
#include "pg/interrupts.h"
#include "pg/progress.h"
#include "rows/fill.h"

Size
calibration_rows_bytes(const Model *m, int64 rows)
{
	return predict_bytes(m) + (m->plan.has_network ? nn_stream_bytes(&m->plan.shape) : 0) +
		(m->plan.has_states ? nn_state_stream_bytes(m->features) : 0) +
		PREDICT_ROWS * sizeof(float) * (3 * m->features + m->plan.signals) +
		PREDICT_ROWS * IMPUTED_BYTES(m->features) + 2 * sizeof(double) * rows;
}

CalibrationRows
calibration_rows_open(const Model *m, const Dataset *d, const Recorded *recorded)
{
	CalibrationRows r = {
		.model = m,
		.dataset = d,
		.recorded = recorded,
		.raw = palloc_extended(sizeof(double) * d->nrows, MCXT_ALLOC_HUGE),
		.scratch = palloc_extended(sizeof(double) * d->nrows, MCXT_ALLOC_HUGE),
	};

	if (m->plan.has_relations)
		r.relation = palloc_extended(sizeof(double) * d->nrows, MCXT_ALLOC_HUGE);
	if (recorded == NULL)
	{
		r.context = m->plan.context;
		r.expected = palloc(sizeof(float) * PREDICT_ROWS * m->features);
		r.signals = palloc(sizeof(float) * PREDICT_ROWS * Max(m->plan.signals, 1));
		r.partial = palloc(sizeof(float) * PREDICT_ROWS * m->features);
		r.partial_imputed = palloc(PREDICT_ROWS * IMPUTED_BYTES(m->features));
		predict_series_open(&r.prediction, predict_open(m));
	}
	return r;
}

static void
visit_recorded(CalibrationRows *r, const DatasetRun *run, int64 place, int64 end,
			   calibration_visit visit, void *arg)
{
	const int	C = r->model->features;
	const int	N = r->model->plan.signals;
	IncompleteRows incomplete = {.rows = incomplete_rows_most(r->model->plan.context)};

	for (int64 row = run->first + Max(place - incomplete.rows, 0); row < run->first + end; row++)
	{
		CHECK_FOR_INTERRUPTS();
		r->imputed = dataset_imputed(r->dataset, row);
		r->incomplete = incomplete_rows_add(&incomplete, nn_any_imputed(r->imputed, C));
		if (row < run->first + place)
			continue;
		visit(r, row, r->recorded->expected + row * C,
			  N > 0 ? r->recorded->signals + row * N : NULL, arg);
	}
}

/*
 * Passes rows of the dataset through the model, without the features that are dropped.
 * Returns their maps of imputed features; NULL: none is.
 */
static const uint8 *
predict_rows(CalibrationRows *r, int64 first, int n)
{
	const int	C = r->model->features;
	const Size	bytes = IMPUTED_BYTES(C);
	const float *rows = r->dataset->rows + first * C;
	const uint8 *imputed = dataset_imputed(r->dataset, first);

	if (r->ndropped > 0)
	{
		memcpy(r->partial, rows, sizeof(float) * n * C);
		if (imputed)
			memcpy(r->partial_imputed, imputed, n * bytes);
		else
			memset(r->partial_imputed, 0, n * bytes);
		for (int i = 0; i < n; i++)
			for (int k = 0; k < r->ndropped; k++)
			{
				r->partial[(Size) i * C + r->dropped[k]] = 0.0f;
				fill_mark(r->partial_imputed + i * bytes, r->dropped[k]);
			}
		rows = r->partial;
		imputed = r->partial_imputed;
	}
	predict_push(&r->prediction, rows, imputed, n, r->expected, r->signals);
	return imputed;
}

void
calibration_rows_visit(CalibrationRows *r, const DatasetRun *run, int64 place, int64 end,
					   calibration_visit visit, void *arg)
{
	const int	C = r->model->features;
	const int	N = r->model->plan.signals;
	int64		from = Max(0, place - r->context);
	IncompleteRows incomplete = {.rows = incomplete_rows_most(r->context)};

	if (r->recorded)
	{
		visit_recorded(r, run, place, end, visit, arg);
		return;
	}
	predict_series_reset(&r->prediction);
	for (int64 at = from; at < end; at += PREDICT_ROWS)
	{
		int			n = (int) Min(end - at, PREDICT_ROWS);
		const uint8 *imputed;

		CHECK_FOR_INTERRUPTS();
		imputed = predict_rows(r, run->first + at, n);
		progress_add(n);
		for (int i = 0; i < n; i++)
		{
			CHECK_FOR_INTERRUPTS();
			r->imputed = imputed ? imputed + i * IMPUTED_BYTES(C) : NULL;
			r->incomplete = incomplete_rows_add(&incomplete, nn_any_imputed(r->imputed, C));
			if (at + i >= place && at + i - from >= r->context)
				visit(r, run->first + at + i, r->expected + (size_t) i * C,
					  r->signals + (size_t) i * N, arg);
		}
	}
}

int64
calibration_rows_warmup(const CalibrationRows *r)
{
	return r->context + r->model->plan.max_horizon - 1;
}

bool
calibration_rows_held_out(const CalibrationRows *r, const DatasetRun *run, int64 place, int64 *end)
{
	*end = run->rows;
	return r->use_all || r->recorded || dataset_held_out(r->dataset, run, place, end);
}

RowUse
calibration_rows_use(const CalibrationRows *r, int64 row)
{
	return r->recorded ? r->recorded->use[row] : ROW_KEPT;
}

bool
calibration_rows_may_fall(const CalibrationRows *r, const ModelStats *stats)
{
	return r->recorded == NULL || r->recorded->trim == 0 || stats->borrowed;
}

bool
calibration_rows_refit(const CalibrationRows *r, RunRange runs)
{
	for (int i = runs.first; r->recorded && i < runs.last; i++)
		if (r->recorded->refit[r->dataset->runs[i].series])
			return true;
	return r->recorded == NULL;
}

bool
calibration_rows_of_all(const CalibrationRows *r)
{
	return r->recorded == NULL || !r->recorded->some_series;
}

double
calibration_rows_quantile(CalibrationRows *r, int64 n, double q)
{
	return nn_quantile_polled(r->scratch, n, q, check_interrupts);
}
