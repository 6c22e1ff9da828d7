/*
 * operate/change_log.h
 *	  The arguments of the triggers that log changes.
 *
 * They are the watch, the relation as change_log_binding() writes it, the time column and the
 * series columns, each as NUMBER:NAME.  The number identifies a column of this relation also
 * after it was renamed.  In a restored dump the relation has another oid; there the names do.
 */
#ifndef AMAD_OPERATE_CHANGE_LOG_H
#define AMAD_OPERATE_CHANGE_LOG_H

/* Positions of the arguments. */
enum
{
	CHANGE_LOG_WATCH,
	CHANGE_LOG_BINDING,
	CHANGE_LOG_TS,
	CHANGE_LOG_SERIES			/* the first of the series columns */
};

/* A relation of this cluster: OID/SYSTEM IDENTIFIER. */
extern char *change_log_binding(Oid relation);

#endif							/* AMAD_OPERATE_CHANGE_LOG_H */
