/*
 * operate/recalibrate_shards.h
 *	  A recalibration of some series whose rows are on the shards of a distributed source.
 */
#ifndef AMAD_OPERATE_RECALIBRATE_SHARDS_H
#define AMAD_OPERATE_RECALIBRATE_SHARDS_H

#include "operate/recalibrate_rows.h"

/* The arguments of amad_recalibrate that a shard gets: up to options. */
#define RECALIBRATE_SHARD_ARGS (RECENT_ARGS + 1)

typedef struct RecalibratedShards RecalibratedShards;

/*
 * For a call of amad_recalibrate; NULL: its source has no shards, or all series are recalibrated, which needs
 * their rows together.
 */
extern RecalibratedShards *recalibrate_shards_open(FunctionCallInfo fcinfo, const DetectSpec *spec);

/* The version of the model that is recalibrated. */
extern int	recalibrate_shards_version(const RecalibratedShards *shards);

/* Recalibrates that version, which is decoded from a value. */
extern Recalibration recalibrate_shards_run(RecalibratedShards *shards, Model *model,
											struct varlena *value);

#endif							/* AMAD_OPERATE_RECALIBRATE_SHARDS_H */
