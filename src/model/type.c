/*
 * model/type.c
 *	  The SQL type amad_model: input, output, and why a value is damaged.
 *
 * Input checks the envelope only, so that a damaged row of a dump does not keep the
 * others from being restored; whoever uses a value decodes it, which checks all.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "libpq/pqformat.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "model/codec.h"
#include "pg/subtransaction.h"

SQL_FUNCTION(amad_model_in);
SQL_FUNCTION(amad_model_out);
SQL_FUNCTION(amad_model_recv);
SQL_FUNCTION(amad_model_send);
SQL_FUNCTION(amad_model_error);

/* Text is bytea's hexadecimal form: exact, and free of surprises. */
Datum
amad_model_in(PG_FUNCTION_ARGS)
{
	char	   *text = PG_GETARG_CSTRING(0);
	struct varlena *value;

	if (strncmp(text, "\\x", 2) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid input syntax for type amad_model"),
				 errhint("Models are made by amad_fit() and amad_train().")));
	value = (struct varlena *) DatumGetPointer(DirectFunctionCall1(byteain, CStringGetDatum(text)));
	model_check_envelope(VARDATA(value), VARSIZE(value) - VARHDRSZ);
	PG_RETURN_POINTER(value);
}

Datum
amad_model_out(PG_FUNCTION_ARGS)
{
	struct varlena *value = PG_DETOAST_DATUM(PG_GETARG_DATUM(0));
	size_t		bytes = VARSIZE(value) - VARHDRSZ;
	char	   *text = palloc_extended(2 * bytes + 3, MCXT_ALLOC_HUGE);

	/* not byteaout, which obeys bytea_output */
	memcpy(text, "\\x", 2);
	text[2 + hex_encode(VARDATA(value), bytes, text + 2)] = '\0';
	PG_RETURN_CSTRING(text);
}

Datum
amad_model_recv(PG_FUNCTION_ARGS)
{
	StringInfo	in = (StringInfo) PG_GETARG_POINTER(0);
	int			bytes = in->len - in->cursor;
	struct varlena *value = palloc(VARHDRSZ + bytes);

	SET_VARSIZE(value, VARHDRSZ + bytes);
	pq_copymsgbytes(in, VARDATA(value), bytes);
	model_check_envelope(VARDATA(value), bytes);
	PG_RETURN_POINTER(value);
}

Datum
amad_model_send(PG_FUNCTION_ARGS)
{
	PG_RETURN_BYTEA_P((bytea *) PG_DETOAST_DATUM_COPY(PG_GETARG_DATUM(0)));
}

static void
decode_argument(void *model)
{
	(void) DatumGetModel(PointerGetDatum(model));
}

/* (model) → text, why it cannot be decoded; NULL: it can. */
Datum
amad_model_error(PG_FUNCTION_ARGS)
{
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "amad model check",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(scratch);
	ErrorData  *error = subtransaction_run(decode_argument, PG_GETARG_POINTER(0));
	char	   *reason = error ? model_damage(error) : NULL;
	text	   *result;

	MemoryContextSwitchTo(caller);
	if (error && reason == NULL)
		ReThrowError(error);
	result = reason ? cstring_to_text(reason) : NULL;
	MemoryContextDelete(scratch);
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(result);
}
