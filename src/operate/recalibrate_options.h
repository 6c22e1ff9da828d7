/*
 * operate/recalibrate_options.h
 *	  The options of amad_recalibrate.
 */
#ifndef AMAD_OPERATE_RECALIBRATE_OPTIONS_H
#define AMAD_OPERATE_RECALIBRATE_OPTIONS_H

#include "utils/jsonb.h"

typedef struct Choices
{
	double		trim;
	bool		threshold_only;
	Jsonb	   *others;			/* options of a training; NULL: none */
} Choices;

/* From the argument, which can be NULL; some_series: not all series of the model are recalibrated. */
extern Choices recalibrate_choices(Jsonb *options, bool some_series);

#endif							/* AMAD_OPERATE_RECALIBRATE_OPTIONS_H */
