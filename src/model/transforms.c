/*
 * model/transforms.c
 *	  What a feature is replaced by before it is scaled.
 */
#include "postgres.h"
#include "pg/compat.h"

#include "model/transforms.h"
#include "pg/json.h"

#define MOST_MEAN_ROWS 64

Transforms
transforms_make(const Options *o, int features)
{
	return (Transforms){
		.features = features,
		.kind = palloc0(sizeof(uint8) * features),
		.mean_rows = Min(o->window, MOST_MEAN_ROWS),
		.limit = Max(o->fill_limit, 1),
	};
}

void
transforms_settle(Transforms *t)
{
	t->any = false;
	t->lead = 0;
	for (int c = 0; c < t->features; c++)
	{
		t->any = t->any || transforms_feature(t, c);
		if (t->kind[c] == TRANSFORM_DETREND)
			t->lead = Max(t->lead, t->mean_rows);
		else if (t->kind[c] == TRANSFORM_DIFFERENCE || t->kind[c] == TRANSFORM_RATE)
			t->lead = Max(t->lead, 1);
	}
}

int
transforms_reach(const Transforms *t, int feature)
{
	switch ((Transform) t->kind[feature])
	{
		case TRANSFORM_DIFFERENCE:
		case TRANSFORM_RATE:
			return t->limit;
		case TRANSFORM_DETREND:
			return t->mean_rows;
		case TRANSFORM_NONE:
		case TRANSFORM_LOG:
		case TRANSFORM_AUTO:
			break;
	}
	return 0;
}

int
transforms_longest_reach(const Transforms *t)
{
	int			longest = 0;

	for (int c = 0; t->any && c < t->features; c++)
		longest = Max(longest, transforms_reach(t, c));
	return longest;
}

void
transforms_write(const Transforms *t, const Options *options, StringInfo out)
{
	appendStringInfoChar(out, '{');
	for (int c = 0; t->any && c < t->features; c++)
		if (transforms_feature(t, c))
			json_put_string(out, options_feature_name(options, c),
							options_transform_name(t->kind[c]));
	appendStringInfoChar(out, '}');
}
