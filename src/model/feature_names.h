/*
 * model/feature_names.h
 *	  Names of the features of a model.
 */
#ifndef AMAD_MODEL_FEATURE_NAMES_H
#define AMAD_MODEL_FEATURE_NAMES_H

#define FEATURES_MAX 4096		/* features of a model at most */

/* A name that occurs twice among n names; NULL: all are different. */
extern const char *feature_names_repeated(int n, char **names);

#endif							/* AMAD_MODEL_FEATURE_NAMES_H */
