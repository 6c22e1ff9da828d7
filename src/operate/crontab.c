/*
 * operate/crontab.c
 *	  Schedules in the syntax of crontab, and lines of a crontab.
 *
 * Crontab names minutes, hours and days, so it can only repeat something evenly whose period
 * divides an hour or a day, or is a week.  Other periods are rounded down to one of those.
 *
 * In a line, "%" ends the command unless a backslash precedes it, which cron removes.  Two
 * backslashes before it would end the command again.
 */
#include "postgres.h"
#include "pg/compat.h"

#include <math.h>

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "postmaster/postmaster.h"
#include "utils/builtins.h"

#include "operate/crontab.h"

bool
crontab_is_schedule(const char *text)
{
	int			fields = 0;

	/* the first two, minutes and hours, have no letters: "5 minutes" is an interval */
	for (;;)
	{
		size_t		length;

		text += strspn(text, " \t");
		if (*text == '\0')
			return fields == 5;
		length = strspn(text,
						fields < 2 ? "0123456789*/,-"
								   : "0123456789*/,-ABCDEFGHIJKLMNOPQRSTUVWXYZ"
									 "abcdefghijklmnopqrstuvwxyz");
		if (length == 0 || (text[length] != '\0' && strchr(" \t", text[length]) == NULL))
			return false;
		text += length;
		fields++;
	}
}

char *
crontab_round_interval(const Interval *every, bool seconds)
{
	/* in minutes */
	static const int periods[] = {1,  2,  3,   4,	5,	 6,	  10,  12,	15,	  20,
								  30, 60, 120, 180, 240, 360, 480, 720, 1440, 10080};
	const double length = (every->month * 30.0 + every->day) * SECS_PER_DAY +
		every->time / (double) USECS_PER_SEC;
	const char *requested = DatumGetCString(
		DirectFunctionCall1(interval_out, PointerGetDatum(unconstify(Interval *, every))));
	char	   *schedule;
	int			i = lengthof(periods) - 1;

	if (length <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("schedule must be positive")));
	if (seconds && length <= 59)
	{
		schedule = psprintf("%d seconds", (int) ceil(length));
		if (length != ceil(length))
			ereport(NOTICE, (errmsg("schedule %s is rounded to %s", requested, schedule)));
		return schedule;
	}
	while (i > 0 && periods[i] * 60.0 > length)
		i--;
	if (periods[i] == 1)
		schedule = pstrdup("* * * * *");
	else if (periods[i] < 60)
		schedule = psprintf("*/%d * * * *", periods[i]);
	else if (periods[i] == 60)
		schedule = pstrdup("0 * * * *");
	else if (periods[i] < 1440)
		schedule = psprintf("0 */%d * * *", periods[i] / 60);
	else
		schedule = pstrdup(periods[i] == 1440 ? "0 0 * * *" : "0 0 * * 0");
	if (periods[i] * 60.0 != length)
		ereport(NOTICE,
				(errmsg("schedule %s is rounded to \"%s\"", requested, schedule),
				 errdetail("A schedule of crontab repeats after minutes that divide an hour, hours "
						   "that divide a day, a day, or a week.")));
	return schedule;
}

char *
crontab_sql_literal(const char *text)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoString(&out, strpbrk(text, "\\\n\r") ? "E'" : "'");
	for (; *text; text++)
		switch (*text)
		{
			case '\'':
				appendStringInfoString(&out, "''");
				break;
			case '\\':
				appendStringInfoString(&out, "\\\\");
				break;
			case '\n':
				appendStringInfoString(&out, "\\n");
				break;
			case '\r':
				appendStringInfoString(&out, "\\r");
				break;
			default:
				appendStringInfoChar(&out, *text);
		}
	appendStringInfoChar(&out, '\'');
	return out.data;
}

/* Appends a word of a shell command in a line of a crontab. */
static void
append_crontab_word(StringInfo out, const char *word)
{
	if (*word != '\0' &&
		word[strspn(word,
					"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_"
					"abcdefghijklmnopqrstuvwxyz")] == '\0')
	{
		appendStringInfoString(out, word);
		return;
	}
	appendStringInfoChar(out, '\'');
	for (; *word; word++)
		if (*word == '\'')
			appendStringInfoString(out, "'\\''");
		else if (*word == '%')
			appendStringInfoString(out, out->data[out->len - 1] == '\\' ? "''\\%" : "\\%");
		else
			appendStringInfoChar(out, *word);
	appendStringInfoChar(out, '\'');
}

char *
crontab_psql_line(const char *schedule, const char *database, const char *role,
				  const char *statement)
{
	StringInfoData out;

	if (strpbrk(database, "\n\r") || strpbrk(role, "\n\r") || strpbrk(statement, "\n\r"))
		return NULL;
	/* psql -d would read some names as connection strings */
	initStringInfo(&out);
	appendStringInfo(&out, "%s PGDATABASE=", schedule);
	append_crontab_word(&out, database);
	appendStringInfoString(&out, " psql -X");
	if (PostPortNumber != DEF_PGPORT)
		appendStringInfo(&out, " -p %d", PostPortNumber);
	appendStringInfoString(&out, " -U ");
	append_crontab_word(&out, role);
	appendStringInfoString(&out, " -c ");
	append_crontab_word(&out, statement);
	return out.data;
}
