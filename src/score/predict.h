/*
 * score/predict.h
 *	  Inference: the values that a model expects in each row, for each method.
 *
 * A predictor is a model laid out for inference.  A prediction is a series on its way
 * through it: scaled rows go in, expected values and signals (discrepancies of the blocks,
 * distance from the states) come out.
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
	int			signals;		/* N: signals of a row, as in nn_row */
	int			context;		/* rows before the first row with a prediction */

	/* METHOD_AMAD */
	double		clip;			/* limit of the network's input */
	int			ahead;			/* an output is what is expected `ahead` rows later: 0 or 1 */
	const nn_packed *packed;
	const float *states;		/* parameters of the states; NULL: none */

	/* METHOD_PCA */
	int			k;				/* number of components */
	const float *components;	/* (k, C) */
} Predictor;

typedef struct Prediction
{
	const Predictor *predictor;

	/* METHOD_AMAD */
	nn_stream  *stream;
	nn_state_stream *states;	/* NULL: none */
	float	   *clipped;		/* (PREDICT_ROWS, C) */
	float	   *next;			/* (2, C) with ahead: expected values of the next row; scratch */
} Prediction;

/* Rows of one series to be predicted together. */
typedef struct PredictTask
{
	int			n;				/* rows */
	int			carried;		/* rows before them: `context`, or all there are in the stretch */
	bool	   *begins;			/* (n) whether the row is the first of its stretch */
	float	   *rows;			/* (n, C) scaled; the carried rows precede them */
	uint8	   *imputed;		/* (n, IMPUTED_BYTES) the same of their imputed features */
	float	   *expected;		/* (n, C) */
	float	   *signals;		/* (n, N) */
} PredictTask;

/* Opens a predictor, with a copy of the model's parameters, in the current context. */
extern Size predict_bytes(const Model *model);
extern Predictor *predict_open(const Model *model);

/* Opens a prediction in the current context; begins another series or stretch. */
extern Size predict_series_bytes(const Predictor *predictor);
extern void predict_series_open(Prediction *prediction, const Predictor *predictor);
extern void predict_series_reset(Prediction *prediction);

/*
 * Predicts the next n (1 … PREDICT_ROWS) scaled rows (n, C) with their maps of imputed
 * features (n, IMPUTED_BYTES; NULL: none is): sets expected (n, C) and signals
 * (n, N).  Once `context` rows precede a row, its outputs are the same bit by bit, however
 * rows are cut into pushes.
 */
extern void predict_push(Prediction *prediction, const float *rows, const uint8 *imputed, int n,
						 float *expected, float *signals);

/* Predicts a task, whose first row follows the last row pushed or begins a stretch. */
extern void predict_task(Prediction *prediction, const PredictTask *task);

/*
 * Pushes the carried rows, for a prediction that has not seen them.  Overwrites the task's
 * outputs, which must have room for PREDICT_ROWS rows.
 */
extern void predict_carried(Prediction *prediction, const PredictTask *task);

#endif							/* AMAD_SCORE_PREDICT_H */
