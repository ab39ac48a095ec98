//! One tile of a matrix product, on the calling thread, by the `gemm` crate, behind a safe face that checks
//! what the unsafe code relies on.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::Range;

use gemm::Parallelism;

use crate::linalg::matrix::MatRef;
use crate::linalg::real::Real;

/// A row-major destination whose disjoint tiles several threads write at once.
pub(crate) struct Tile<'a, T> {
    data: *mut T,
    rows: usize,
    cols: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: a `Tile` is an exclusive borrow of a slice of `T`; sharing it between threads hands out
// writes, which `gemm_tile` and `gram_tile` confine to the tiles they are given. Their callers in
// `product` cut the matrix into disjoint tiles.
unsafe impl<T: Send> Sync for Tile<'_, T> {}

impl<'a, T> Tile<'a, T> {
    /// Panics unless `data` is whole rows of `cols` elements.
    pub(crate) fn new(data: &'a mut [T], cols: usize) -> Self {
        let rows = data.len().checked_div(cols).unwrap_or(0);
        assert_eq!(rows * cols, data.len(), "a matrix of {cols} columns");
        Self { data: data.as_mut_ptr(), rows, cols, borrow: PhantomData }
    }
}

/// `c[rows, cols] = beta · c[rows, cols] + alpha · a[rows, :] · b[:, cols]`.
///
/// No two calls that run at once may share an element of `c`.
pub(crate) fn gemm_tile<T: Real>(
    alpha: T,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    beta: T,
    c: &Tile<'_, T>,
    rows: Range<usize>,
    cols: Range<usize>,
) {
    assert!(a.cols == b.rows && rows.end <= a.rows.min(c.rows) && cols.end <= b.cols.min(c.cols));
    assert!(!rows.is_empty() && !cols.is_empty());
    let a_start = rows.start * a.row_stride;
    let b_start = cols.start * b.col_stride;
    let c_start = rows.start * c.cols + cols.start;
    // SAFETY: `MatRef::new` and `MatRef::t` only make views whose every element lies in `data`,
    // and the asserts keep the tile within all three matrices, so each pointer plus any
    // (row, col) of the tile stays inside its allocation. `c` is an exclusive borrow, of which
    // the caller gives each element to one call at a time; it does not overlap `a` or `b`, which
    // are shared borrows. `T` is f32 or f64, which `gemm` supports.
    unsafe {
        gemm::gemm(
            rows.len(),
            cols.len(),
            a.cols,
            c.data.add(c_start),
            1,
            c.cols as isize,
            beta != T::default(),
            a.data.as_ptr().wrapping_add(a_start),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr().wrapping_add(b_start),
            b.col_stride as isize,
            b.row_stride as isize,
            beta,
            alpha,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// `c[rows, cols] = beta · c[rows, cols] + a[rows, :] · a[cols, :]ᵀ`, and its mirror image
/// `c[cols, rows]`.
///
/// `rows` begin where `cols` do. No two calls that run at once may share an element of `c` on or
/// below the diagonal.
pub(crate) fn gram_tile<T: Real>(
    a: MatRef<'_, T>,
    beta: T,
    c: &Tile<'_, T>,
    rows: Range<usize>,
    cols: Range<usize>,
) {
    assert!(rows.start == cols.start && rows.end <= c.cols && cols.end <= c.rows);
    gemm_tile(T::from_f64(1.0), a, a.t(), beta, c, rows.clone(), cols.clone());
    // At the diagonal a part of the mirror is in the tile itself: copying its lower half over its upper makes
    // the result symmetric to the bit.
    for i in rows.clone() {
        for j in cols.start..cols.end.min(i) {
            // SAFETY: i and j are below both dimensions of `c` by the asserts, and both elements
            // belong to this call.
            unsafe {
                *c.data.add(j * c.cols + i) = *c.data.add(i * c.cols + j);
            }
        }
    }
}
