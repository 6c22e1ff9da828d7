/*
 * score/predict.c
 *	  Inference: the values that a model expects in each row, for each method.
 *
 * The z-score expects the mean, PCA the projection of the row on the principal components,
 * and the network what it makes of the rows before (option ahead), or of these and the row.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "utils/memutils.h"

#include "core/evidence/pca.h"
#include "pg/interrupts.h"
#include "score/predict.h"

#define PCA_WORK 16777216		/* multiplications between checks for interrupts: milliseconds */

Size
predict_bytes(const Model *m)
{
	return m->plan.has_network
		? nn_packed_bytes(&m->plan.shape) + sizeof(float) * m->plan.states_size
		: sizeof(float) * m->nparams;
}

Predictor *
predict_open(const Model *m)
{
	Predictor  *p = palloc0(sizeof(Predictor));
	void	   *memory = palloc_extended(Max(predict_bytes(m), 1), MCXT_ALLOC_HUGE);

	p->method = m->options.method;
	p->shape = m->plan.shape;
	p->signals = m->plan.signals;
	p->clip = m->options.clip;
	p->context = m->plan.context;
	p->ahead = m->plan.ahead;
	if (p->method == METHOD_AMAD)
	{
		p->packed = nn_pack(memory, &p->shape, m->params, check_interrupts);
		if (m->plan.has_states)
			p->states = memcpy((char *) memory + nn_packed_bytes(&p->shape),
							   m->params + m->plan.network_size,
							   sizeof(float) * m->plan.states_size);
	}
	else
	{
		memcpy(memory, m->params, sizeof(float) * m->nparams);
		p->components = memory;
		p->k = (int) (m->nparams / m->features);
	}
	return p;
}

Size
predict_series_bytes(const Predictor *p)
{
	return p->method != METHOD_AMAD
		? 0
		: nn_stream_bytes(&p->shape) + (p->states ? nn_state_stream_bytes(p->shape.features) : 0) +
			sizeof(float) * (PREDICT_ROWS + 2) * p->shape.features;
}

void
predict_series_open(Prediction *prediction, const Predictor *p)
{
	const int	C = p->shape.features;

	memset(prediction, 0, sizeof(*prediction));
	prediction->predictor = p;
	if (p->method != METHOD_AMAD)
		return;
	prediction->stream = nn_stream_open(palloc_extended(nn_stream_bytes(&p->shape),
														MCXT_ALLOC_HUGE),
										p->packed, check_interrupts);
	if (p->states)
		prediction->states = nn_state_stream_open(palloc_extended(nn_state_stream_bytes(C),
																  MCXT_ALLOC_HUGE),
												  C, p->states);
	prediction->clipped = palloc(sizeof(float) * PREDICT_ROWS * C);
	prediction->next = palloc0(sizeof(float) * 2 * C);
}

void
predict_series_reset(Prediction *prediction)
{
	if (prediction->stream == NULL)
		return;
	nn_stream_reset(prediction->stream);
	if (prediction->states)
		nn_state_stream_reset(prediction->states);
	memset(prediction->next, 0, sizeof(float) * prediction->predictor->shape.features);
}

/*
 * Turns outputs (n, C), each of which is about the row after its own, into what is expected
 * of their rows: shifts them by one row, with the last output of the previous push in front.
 */
static void
shift_outputs(float *next, float *expected, int n, int C)
{
	const size_t row = sizeof(float) * C;
	float	   *last = next + C;

	memcpy(last, expected + (size_t) (n - 1) * C, row);
	memmove(expected + C, expected, row * (n - 1));
	memcpy(expected, next, row);
	memcpy(next, last, row);
}

static void
push_network(Prediction *prediction, const float *rows, const uint8 *imputed, int n,
			 float *expected, float *signals)
{
	const Predictor *p = prediction->predictor;

	nn_clip(p->clip, rows, (size_t) n * p->shape.features, prediction->clipped);
	nn_stream_push(prediction->stream, prediction->clipped, n, expected, p->signals, signals);
	if (p->states)				/* their distance is the last signal */
		nn_state_stream_push(prediction->states, rows, imputed, n, p->signals,
							 signals + p->signals - 1);
	if (p->ahead > 0)
		shift_outputs(prediction->next, expected, n, p->shape.features);
}

/* Few rows at a time, because each costs k · C multiplications. */
static void
push_components(const Predictor *p, const float *rows, int n, float *expected)
{
	const int	C = p->shape.features;
	const int	step = (int) (PCA_WORK / ((double) Max(p->k, 1) * C)) + 1;

	for (int i = 0; i < n; i += step)
	{
		CHECK_FOR_INTERRUPTS();
		nn_pca_reconstruct(C, p->k, p->components, rows + (size_t) i * C, Min(n - i, step),
						   expected + (size_t) i * C);
	}
}

void
predict_push(Prediction *prediction, const float *rows, const uint8 *imputed, int n,
			 float *expected, float *signals)
{
	const Predictor *p = prediction->predictor;

	switch (p->method)
	{
		case METHOD_AMAD:
			push_network(prediction, rows, imputed, n, expected, signals);
			break;
		case METHOD_PCA:
			push_components(p, rows, n, expected);
			break;
		case METHOD_ZSCORE:
			memset(expected, 0, sizeof(float) * n * p->shape.features);
			break;
	}
}

void
predict_task(Prediction *prediction, const PredictTask *task)
{
	const int	C = prediction->predictor->shape.features;
	const int	N = prediction->predictor->signals;

	for (int first = 0, n; first < task->n; first += n)
	{
		CHECK_FOR_INTERRUPTS();
		/* up to the next stretch */
		for (n = 1; n < PREDICT_ROWS && first + n < task->n && !task->begins[first + n];)
			n++;
		if (task->begins[first])
			predict_series_reset(prediction);
		predict_push(prediction, task->rows + (size_t) first * C,
					 task->imputed + (size_t) first * IMPUTED_BYTES(C), n,
					 task->expected + (size_t) first * C, task->signals + (size_t) first * N);
	}
}

void
predict_carried(Prediction *prediction, const PredictTask *task)
{
	const int	C = prediction->predictor->shape.features;

	predict_series_reset(prediction);
	for (int first = -task->carried; first < 0; first += PREDICT_ROWS)
	{
		CHECK_FOR_INTERRUPTS();
		predict_push(prediction, task->rows + (ptrdiff_t) first * C,
					 task->imputed + (ptrdiff_t) first * IMPUTED_BYTES(C),
					 Min(-first, PREDICT_ROWS), task->expected, task->signals);
	}
}
