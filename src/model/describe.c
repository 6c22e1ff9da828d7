/*
 * model/describe.c
 *	  The contents of a model: amad_describe and amad_weights.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "core/evidence/recurrence.h"
#include "core/evidence/relations.h"
#include "core/evidence/states.h"
#include "core/network/network.h"
#include "model/codec.h"
#include "model/registry.h"
#include "pg/json.h"

SQL_FUNCTION(amad_describe);
SQL_FUNCTION(amad_describe_name);
SQL_FUNCTION(amad_weights);

/* "mu_d": [of each block], "mu_s": of the states */
static void
write_signals(const Model *m, const Figure *f, StringInfo out)
{
	const double *values = figure_values(f, &m->stats);

	json_put_doubles(out, psprintf("%s_d", f->name), m->plan.blocks, values);
	if (m->plan.has_states)
		json_put_double(out, psprintf("%s_s", f->name), values[m->plan.blocks]);
}

/* The figures of all rows in a section, as an object under its name. */
static void
write_section(const Model *m, const char *section, StringInfo out)
{
	json_key(out, section);
	appendStringInfoChar(out, '{');
	for (int i = 0; i < figures_count; i++)
	{
		const Figure *f = &figures[i];
		int			count = (int) m->sizes.count[f->size];

		if (f->section == NULL || strcmp(f->section, section) != 0)
			continue;
		if (f->size == FIGURE_SIGNALS)
			write_signals(m, f, out);
		else if (count > 0 && figure_is_array(f))
			json_put_doubles(out, f->name, count, figure_values(f, &m->stats));
		else if (count > 0)
			json_put_double(out, f->name, *figure_values(f, &m->stats));
	}
	appendStringInfoChar(out, '}');
}

/* A distance of timestamps, in seconds or, for integers, in their units. */
static double
distance(const Model *m, double units)
{
	return m->ts_type == INT8OID ? units : units / USECS_PER_SEC;
}

/* The gains are those of all rows. */
static void
write_season(const Model *m, StringInfo out)
{
	double		periods[NN_SEASON_PERIODS];

	for (int i = 0; i < m->season.nperiods; i++)
		periods[i] = distance(m, (double) m->season.period[i]);
	json_key(out, "season");
	appendStringInfoChar(out, '{');
	json_put_doubles(out, "periods", m->season.nperiods, periods);
	json_put_ints(out, "harmonics", m->season.nperiods, m->season.harmonics);
	json_put_doubles(out, "gain", m->season.nperiods > 0 ? m->features : 0, m->stats.season_gain);
	appendStringInfoChar(out, '}');
}

/*
 * What recurs in the rows of all series: each bin of a period in which evidence is divided, as
 * its beginning and end within the period, or within the last or first day of a month.
 */
static void
write_recurrence(const Model *m, StringInfo out)
{
	const nn_season *season = &m->season;
	const double *profile = m->stats.recurrence;
	const char *separator = "{";

	json_key(out, "recurrence");
	appendStringInfoChar(out, '[');
	for (int i = 0; profile != NULL && i < nn_recurrence_periods(season);
		 profile += nn_recurrence_bins(season, i++))
		for (int bin = 0; bin < nn_recurrence_bins(season, i); bin++)
		{
			const bool	month = i == season->nperiods;
			const int	bins = month ? season->month_bins : season->bins[i];
			const double length = distance(m, month ? USECS_PER_DAY : season->period[i]);

			if (profile[bin] == 1.0)
				continue;
			appendStringInfoString(out, separator);
			if (month)
				json_put_string(out, "day",
								bin < bins ? "last of the month" : "first of the month");
			else
				json_put_double(out, "period", length);
			json_put_double(out, "from", length * (bin % bins) / bins);
			json_put_double(out, "to", length * (bin % bins + 1) / bins);
			json_put_double(out, "factor", profile[bin]);
			appendStringInfoChar(out, '}');
			separator = ", {";
		}
	appendStringInfoChar(out, ']');
}

static void
write_time(const Model *m, StringInfo out)
{
	json_put_string(out, "ts_type", format_type_be(m->ts_type));
	json_put_double(out, "step", distance(m, m->stats.step));
	json_put_double(out, "max_gap", distance(m, m->stats.max_gap));
}

static void
write_series(const Model *m, StringInfo out)
{
	json_put_strings(out, "series_cols", m->nseries_cols, m->series_cols);
	json_key(out, "series");
	appendStringInfoChar(out, '[');
	for (int i = 0; i < m->nseries; i++)
	{
		appendStringInfo(out, "%s{\"series\": %s", i > 0 ? ", " : "", m->series[i].key);
		json_put_double(out, "threshold", m->series[i].stats.threshold);
		json_put_double(out, "step", distance(m, m->series[i].stats.step));
		json_put_double(out, "max_gap", distance(m, m->series[i].stats.max_gap));
		appendStringInfoChar(out, '}');
	}
	appendStringInfoChar(out, ']');
}

/* training: a JSON object */
static Jsonb *
describe(const Model *m, const char *training)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoChar(&text, '{');
	json_key(&text, "options");
	options_write(&m->options, &text);
	json_key(&text, "features");
	model_write_names(m, NULL, &text);
	json_put_strings(&text, "feature_types", m->ntypes, m->types);
	json_key(&text, "flags");
	model_write_names(m, m->flag, &text);
	json_key(&text, "transforms");
	transforms_write(&m->transforms, &m->options, &text);
	write_time(m, &text);
	write_series(m, &text);
	write_section(m, "scaling", &text);
	write_section(m, "calibration", &text);
	write_season(m, &text);
	write_recurrence(m, &text);
	json_put_double(&text, "threshold", m->stats.threshold);
	json_put_int(&text, "context", m->plan.context);
	json_put_int(&text, "warmup", model_warmup(m));
	json_put_int(&text, "weights", m->nparams);
	json_put_json(&text, "training", training);
	json_put_int(&text, "format_version", MODEL_FORMAT);
	json_put_string(&text, "core", m->core);
	appendStringInfoChar(&text, '}');
	return json_to_jsonb(text.data);
}

Datum
amad_describe(PG_FUNCTION_ARGS)
{
	Model	   *m = DatumGetModel(PG_GETARG_DATUM(0));

	PG_RETURN_JSONB_P(describe(m, m->training));
}

/* (model_name, version) → jsonb, with the stored facts of the training.  version NULL: deployed. */
Datum
amad_describe_name(PG_FUNCTION_ARGS)
{
	Oid			function = fcinfo->flinfo->fn_oid;
	int			version = registry_version(fcinfo, 1);
	RegistryEntry entry;
	Jsonb	   *facts;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	entry = registry_find(function, text_to_cstring(PG_GETARG_TEXT_PP(0)), version);
	facts = registry_facts(function, &entry);
	PG_RETURN_JSONB_P(
		describe(registry_model(function, &entry), JsonbToCString(NULL, &facts->root, -1)));
}

/* ---- weights -------------------------------------------------------------------------- */

static Datum
shape_array(const nn_param *p)
{
	Datum		dims[3];

	for (int i = 0; i < p->ndim; i++)
		dims[i] = Int32GetDatum(p->dims[i]);
	return PointerGetDatum(
		construct_array(dims, p->ndim, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}

static Datum
data_array(const Model *m, const nn_param *p)
{
	Datum	   *data = palloc_extended(sizeof(Datum) * p->size, MCXT_ALLOC_HUGE);

	for (size_t i = 0; i < p->size; i++)
		data[i] = Float4GetDatum(m->params[p->offset + i]);
	return PointerGetDatum(
		construct_array(data, p->size, FLOAT4OID, sizeof(float4), true, TYPALIGN_INT));
}

/* The number of tensors of a model, and the i-th tensor. */
static int
tensor_count(const Model *m)
{
	switch ((Method) m->options.method)
	{
		case METHOD_AMAD:
			return nn_param_count(&m->plan.shape) + (m->plan.has_states ? NN_STATES_TENSORS : 0) +
				m->plan.has_relations;
		case METHOD_PCA:
			return 1;
		case METHOD_ZSCORE:
			break;
	}
	return 0;
}

static nn_param
tensor(const Model *m, int i)
{
	const nn_shape *shape = &m->plan.shape;
	nn_param	p = {
		.name = "components",
		.ndim = 2,
		.dims = {(int) (m->nparams / m->features), m->features},
		.size = m->nparams,
	};

	if (!m->plan.has_network)
		return p;
	if (i < nn_param_count(shape))
		return nn_param_at(shape, i);
	i -= nn_param_count(shape);
	if (m->plan.has_states && i < NN_STATES_TENSORS)
	{
		p = nn_states_tensor(m->features, i);
		p.offset += m->plan.network_size;
		return p;
	}
	p = nn_relations_tensor(m->features);
	p.offset += m->plan.network_size + m->plan.states_size;
	return p;
}

/* (model) → set of (name text, shape int[], data real[]), one row per tensor. */
Datum
amad_weights(PG_FUNCTION_ARGS)
{
	FuncCallContext *call;
	Model	   *m;
	nn_param	p;
	Datum		values[3];
	bool		nulls[3] = {false, false, false};

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext old;

		call = SRF_FIRSTCALL_INIT();
		old = MemoryContextSwitchTo(call->multi_call_memory_ctx);
		if (get_call_result_type(fcinfo, NULL, &call->tuple_desc) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		call->tuple_desc = BlessTupleDesc(call->tuple_desc);
		call->user_fctx = DatumGetModel(PG_GETARG_DATUM(0));
		MemoryContextSwitchTo(old);
	}
	call = SRF_PERCALL_SETUP();
	m = call->user_fctx;
	if (call->call_cntr >= tensor_count(m))
		SRF_RETURN_DONE(call);
	p = tensor(m, (int) call->call_cntr);
	values[0] = CStringGetTextDatum(p.name);
	values[1] = shape_array(&p);
	values[2] = data_array(m, &p);
	SRF_RETURN_NEXT(call, HeapTupleGetDatum(heap_form_tuple(call->tuple_desc, values, nulls)));
}
