/*
 * model/extension_tables.h
 *	  Tables of the extension that are read without SQL, so that nothing attached to them runs.
 */
#ifndef AMAD_MODEL_EXTENSION_TABLES_H
#define AMAD_MODEL_EXTENSION_TABLES_H

#include "storage/lockdefs.h"
#include "utils/relcache.h"

/*
 * Opens a table in a schema; NULL if there is none, if it does not belong to the owner of
 * amad_models, or if its first columns do not have these types.
 */
extern Relation extension_table_open(Oid schema, const char *name, int ncolumns, const Oid *types,
									 LOCKMODE lock);

#endif							/* AMAD_MODEL_EXTENSION_TABLES_H */
