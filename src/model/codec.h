/*
 * model/codec.h
 *	  The value of type amad_model: encoding and decoding.
 */
#ifndef AMAD_MODEL_CODEC_H
#define AMAD_MODEL_CODEC_H

#include "model/model.h"

/*
 * Limit of the size of a value.  Its hexadecimal text, with the other columns of
 * amad_models, must fit in a line of COPY so that pg_dump can write it.
 */
#define MODEL_MOST_BYTES (500 * 1024 * 1024)

#define MODEL_FORMAT 1			/* of the value */

/* Encoding refuses every model that decoding would refuse. */
extern struct varlena *model_encode(const Model *model);
extern Model *model_decode(struct varlena *value);

/*
 * What an error of model_decode() says about the value, as a sentence for a DETAIL.  NULL
 * for errors that have other causes, such as cancellation.
 */
extern char *model_damage(const ErrorData *error);

#define DatumGetModel(d) model_decode(PG_DETOAST_DATUM(d))

/* ERROR unless bytes begin as a value does: all that the type's input checks. */
extern void model_check_envelope(const char *data, size_t bytes);

#endif							/* AMAD_MODEL_CODEC_H */
