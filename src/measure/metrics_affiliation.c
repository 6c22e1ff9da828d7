/*
 * measure/metrics_affiliation.c
 *	  Affiliation precision and recall (see metrics.h).
 *
 * The time line, 0 … n, is divided half-way between events, so that each event J has a
 * zone E.  A flagged point x of E counts by the probability that a random point of E is
 * farther from J than x.  A point y of J counts by the probability that a random point of E
 * is farther from y than the nearest flagged point of E.  The means over the flagged part of
 * E and over J are the event's precision and recall.  Both are integrals of piecewise linear
 * functions, which are added up one flagged row after another.
 */
#include <math.h>

#include "measure/metrics.h"

/* An event in its zone, as real intervals. */
typedef struct Zone
{
	double		start;			/* of the zone */
	double		end;
	double		event_start;
	double		event_end;
} Zone;

static Zone
zone_of(const MetricsRows *rows, const MetricsEvent *events, int64_t nevents, int64_t e)
{
	Zone		zone = {0, rows->n, events[e].start, events[e].end};

	if (e > 0)
		zone.start = (events[e - 1].end + zone.event_start) / 2;
	if (e < nevents - 1)
		zone.end = (zone.event_end + events[e + 1].start) / 2;
	return zone;
}

/* ∫ x dx from a to b */
static double
linear(double a, double b)
{
	return (b - a) * (a + b) / 2;
}

/* ∫ min(x, most) dx from a to b */
static double
linear_up_to(double most, double a, double b)
{
	double		bend = fmin(fmax(most, a), b);

	return linear(a, bend) + most * (b - bend);
}

/*
 * The precision integral over the flagged interval a … b, which lies either within J or
 * beside it.  The distance of a point of E from J is 0 in J, and at most d for min(d, room)
 * on either side.
 */
static double
precision_of(const Zone *zone, double a, double b)
{
	double		nearest, farthest, room;

	if (a >= zone->event_start && b <= zone->event_end)
		return b - a;
	nearest = a >= zone->event_end ? a - zone->event_end : zone->event_start - b;
	farthest = nearest + (b - a);
	room = fmin(zone->event_start - zone->start, zone->end - zone->event_end);
	return (b - a) -
		(linear_up_to(room, nearest, farthest) + linear(nearest, farthest) +
		 (zone->event_end - zone->event_start) * (b - a)) /
		(zone->end - zone->start);
}

/*
 * The recall integral over the points a … b, whose nearest flagged point is `flagged`, to
 * their left; `wall` is the end of the zone to their right.  On the left, the zone extends
 * at least as far as the flagged point; on the right, it may end before that distance.
 */
static double
recall_right_of(double flagged, double a, double b, double wall, double zone_length)
{
	double		bend;			/* beyond this point, the wall is nearer */

	if (b <= a)
		return 0;
	bend = fmin(fmax((flagged + wall) / 2, a), b);
	return (b - a) -
		(linear(a - flagged, b - flagged) + linear(a - flagged, bend - flagged) +
		 linear(wall - b, wall - bend)) /
		zone_length;
}

/* The same with the flagged point to the right of a … b. */
static double
recall_left_of(double flagged, double a, double b, double wall, double zone_length)
{
	return recall_right_of(-flagged, -b, -a, -wall, zone_length);
}

/* The recall integral over the points of J between two flagged ones; NaN: there is no such one. */
static double
recall_between(const Zone *zone, double left, double right)
{
	double		length = zone->end - zone->start;
	double		middle = isnan(left) ? zone->start : isnan(right) ? zone->end : (left + right) / 2;
	double		sum = 0;

	if (!isnan(left))
		sum += recall_right_of(left, fmax(left, zone->event_start), fmin(middle, zone->event_end),
							   zone->end, length);
	if (!isnan(right))
		sum += recall_left_of(right, fmax(middle, zone->event_start), fmin(right, zone->event_end),
							  zone->start, length);
	return sum;
}

/* Precision and recall of one event; precision is NaN if nothing in its zone is flagged. */
static void
affiliation_of_event(const MetricsRows *rows, const Zone *zone, double threshold, double *precision,
					 double *recall)
{
	double		flagged = 0;	/* length */
	double		last = NAN;		/* end of the last flagged interval */

	*precision = *recall = 0;
	for (int64_t i = (int64_t) zone->start; i < zone->end; i++)
	{
		double		a = fmax(i, zone->start);
		double		b = fmin(i + 1, zone->end);

		metrics_breathe(rows, i);
		if (rows->row[i].score < threshold)
			continue;
		*precision += precision_of(zone, a, b);
		if (a != last)
			*recall += recall_between(zone, last, a);
		*recall += fmax(0, fmin(b, zone->event_end) - fmax(a, zone->event_start));
		flagged += b - a;
		last = b;
	}
	if (flagged > 0)
		*recall += recall_between(zone, last, NAN);
	*recall /= zone->event_end - zone->event_start;
	*precision = flagged > 0 ? *precision / flagged : NAN;
}

void
metrics_affiliation(const MetricsRows *rows, const MetricsEvent *events, int64_t nevents,
					double		threshold, double *precision, double *recall)
{
	double		precisions = 0;
	double		recalls = 0;
	int64_t		with_precision = 0;

	for (int64_t e = 0; e < nevents; e++)
	{
		Zone		zone = zone_of(rows, events, nevents, e);
		double		p, r;

		affiliation_of_event(rows, &zone, threshold, &p, &r);
		recalls += r;
		if (!isnan(p))
		{
			precisions += p;
			with_precision++;
		}
	}
	*precision = with_precision > 0 ? precisions / with_precision : NAN;
	*recall = nevents > 0 ? recalls / nevents : NAN;
}
