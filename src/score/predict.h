/*
 * score/predict.h
 *	  What a model expects of each row, whatever its method.
 *
 * A predictor is a model laid out for inference; a prediction is one series
 * passing through it.  Scaled rows in, reconstructions and discrepancies out.
 */
#ifndef AMAD_SCORE_PREDICT_H
#define AMAD_SCORE_PREDICT_H

#include "core/evidence/states.h"
#include "core/network/network.h"
#include "model/model.h"

#define PREDICT_ROWS NN_STREAM_ROWS /* rows in one push at most */

typedef struct Predictor
{
	Method		method;
	nn_shape	shape;
	int			signals;		/* N: of a row, as nn_raw_score() takes them */
	double		clip;			/* of rows, for what expects them */
	int			context;		/* rows before a row with a prediction */
	const nn_packed *packed;	/* METHOD_AMAD */
	const float *states;		/* their params; NULL: none */
	int			k;				/* METHOD_PCA: components */
	const float *components;	/* (k, C) */
	int			ahead;			/* METHOD_AMAD: an output is what is expected so many rows later */
} Predictor;

typedef struct Prediction
{
	const Predictor *predictor;
	nn_stream  *stream;			/* METHOD_AMAD */
	nn_state_stream *states;	/* NULL: none */
	float	   *clipped;		/* (PREDICT_ROWS, C) */
	float	   *next;			/* (2, C) with ahead: what is expected of the next row, and room */
} Prediction;

/* Rows to be predicted together: parts of one series. */
typedef struct PredictTask
{
	int			n;				/* rows */
	int			carried;		/* rows in front of them: `context`, or all of the stretch */
	bool	   *begins;			/* (n) the row is the first of its stretch */
	float	   *rows;			/* (n, C) scaled, behind the carried ones */
	float	   *expected;		/* (n, C) */
	float	   *signals;		/* (n, N) */
} PredictTask;

/* In the current context; the model's params are copied. */
extern Size predict_bytes(const Model *model);
extern Predictor *predict_open(const Model *model);

/* A prediction in the current context, and a new series through it. */
extern Size predict_series_bytes(const Predictor *predictor);
extern void predict_series_open(Prediction *prediction, const Predictor *predictor);
extern void predict_series_reset(Prediction *prediction);

/*
 * The next n (1 … PREDICT_ROWS) scaled rows (n, C): expected (n, C), signals
 * (n, N).  The outputs of a row are bit-equal however rows are cut into pushes,
 * once `context` rows precede it.
 */
extern void predict_push(Prediction *prediction, const float *rows, int n,
						 float *expected, float *signals);

/* A task, by as many pushes as it takes; its first row follows the last one pushed or begins. */
extern void predict_task(Prediction *prediction, const PredictTask *task);

/* Pushes what is carried, so that a prediction that stood elsewhere can do the task.  The
 * outputs, which have room for PREDICT_ROWS at least, are overwritten. */
extern void predict_carried(Prediction *prediction, const PredictTask *task);

#endif							/* AMAD_SCORE_PREDICT_H */
