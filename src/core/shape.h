/*
 * core/shape.h
 *	  The shape of the network (docs/model.md).
 */
#ifndef AMAD_CORE_SHAPE_H
#define AMAD_CORE_SHAPE_H

#define NN_BASIS 8				/* K: mask functions of the AutoMask */
#define NN_TAPS 15				/* widest convolution of the embedding */
#define NN_SCALES 4				/* convolutions of the embedding: widths 1, 3, 7, 15 */

/* Determines the size of every tensor. */
typedef struct nn_shape
{
	int			features;		/* C, 1 … */
	int			window;			/* W, 1 … : a row attends to itself and W - 1 rows before it */
	int			d_model;		/* D, a multiple of 4 and of heads */
	int			heads;			/* H, 1 … */
	int			layers;			/* N, 1 … */
} nn_shape;

#endif							/* AMAD_CORE_SHAPE_H */
