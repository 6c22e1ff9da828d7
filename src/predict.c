/*
 * predict.c
 *	  What a model expects of each row, whatever its method.
 */
#include "postgres.h"
#include "compat.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "predict.h"

Size
predict_bytes(const Model *m)
{
	nn_shape	shape = model_shape(m);

	return m->options.method == METHOD_AMAD ? nn_packed_bytes(&shape)
		: sizeof(float) * m->nparams;
}

Predictor *
predict_open(const Model *m)
{
	Predictor  *p = palloc0(sizeof(Predictor));
	void	   *memory = palloc_extended(Max(predict_bytes(m), 1), MCXT_ALLOC_HUGE);

	p->method = m->options.method;
	p->shape = model_shape(m);
	p->blocks = options_blocks(&m->options);
	p->context = options_context(&m->options, m->features);
	p->ahead = p->method == METHOD_AMAD ? m->options.ahead : 0;
	if (p->method == METHOD_AMAD)
		p->packed = nn_pack(memory, &p->shape, m->params);
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
	return p->method != METHOD_AMAD ? 0
		: nn_stream_bytes(&p->shape) + sizeof(float) * 2 * p->shape.features;
}

void
predict_series_open(Prediction *prediction, const Predictor *p)
{
	prediction->predictor = p;
	prediction->stream = p->method != METHOD_AMAD ? NULL
		: nn_stream_open(palloc_extended(nn_stream_bytes(&p->shape), MCXT_ALLOC_HUGE), p->packed);
	prediction->next = palloc0(sizeof(float) * 2 * p->shape.features);
}

void
predict_series_reset(Prediction *prediction)
{
	if (prediction->stream)
		nn_stream_reset(prediction->stream);
	memset(prediction->next, 0, sizeof(float) * prediction->predictor->shape.features);
}

/*
 * Outputs (n, C), each about the row after its own, to what is expected of these
 * rows: the last push's last output moves in in front, the last one waits.
 */
static void
delay(float *next, float *expected, int n, int C)
{
	const size_t row = sizeof(float) * C;
	float	   *last = next + C;

	memcpy(last, expected + (size_t) (n - 1) * C, row);
	memmove(expected + C, expected, row * (n - 1));
	memcpy(expected, next, row);
	memcpy(next, last, row);
}

void
predict_push(Prediction *prediction, const float *rows, int n, float *expected, float *discrepancy)
{
	const Predictor *p = prediction->predictor;

	switch (p->method)
	{
		case METHOD_AMAD:
			nn_stream_push(prediction->stream, rows, n, expected, discrepancy);
			if (p->ahead > 0)
				delay(prediction->next, expected, n, p->shape.features);
			break;
		case METHOD_PCA:
			nn_pca_reconstruct(p->shape.features, p->k, p->components, rows, n, expected);
			break;
		case METHOD_ZSCORE:
			memset(expected, 0, sizeof(float) * n * p->shape.features);
			break;
	}
}

/* Rows from `first` on that can be pushed together. */
static int
piece(const PredictTask *task, int first)
{
	int			n = 1;

	while (n < PREDICT_ROWS && first + n < task->n && !task->begins[first + n])
		n++;
	return n;
}

void
predict_task(Prediction *prediction, const PredictTask *task)
{
	const int	C = prediction->predictor->shape.features;
	const int	N = prediction->predictor->blocks;

	for (int first = 0, n; first < task->n; first += n)
	{
		CHECK_FOR_INTERRUPTS();
		n = piece(task, first);
		if (task->begins[first])
			predict_series_reset(prediction);
		predict_push(prediction, task->rows + (size_t) first * C, n,
					 task->expected + (size_t) first * C, task->discrepancy + (size_t) first * N);
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
		predict_push(prediction, task->rows + (ptrdiff_t) first * C, Min(-first, PREDICT_ROWS),
					 task->expected, task->discrepancy);
	}
}
