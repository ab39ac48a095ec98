//! A row-major matrix and its strided views.

use std::ops::Range;

use crate::error::{Error, Result};

/// A dense row-major matrix: row `i` is `data[i * cols..(i + 1) * cols]`.
///
/// ```
/// let m = twinlearn_core::Matrix::new(2, 3, vec![1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0])?;
/// assert_eq!(m.row(1), [4.0, 5.0, 6.0]);
/// # Ok::<(), twinlearn_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matrix<T = f32> {
    data: Vec<T>,
    rows: usize,
    cols: usize,
}

impl<T> Matrix<T> {
    /// A `rows × cols` matrix over `data`, row after row.
    ///
    /// # Errors
    /// When `data` does not hold `rows · cols` elements.
    pub fn new(rows: usize, cols: usize, data: Vec<T>) -> Result<Self> {
        if rows.checked_mul(cols) != Some(data.len()) {
            return Err(Error::invalid(
                "matrix",
                format_args!("{rows} × {cols} elements"),
                data.len(),
            ));
        }
        Ok(Self { data, rows, cols })
    }

    /// The number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Row `i`.
    ///
    /// # Panics
    /// When `i` is not below [`rows`](Self::rows).
    #[must_use]
    pub fn row(&self, i: usize) -> &[T] {
        &self.data[i * self.cols..(i + 1) * self.cols]
    }

    /// All elements, row after row.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        &self.data
    }

    /// All elements, row after row, to be changed in place.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.data
    }

    /// The elements, row after row, without a copy.
    #[must_use]
    pub fn into_vec(self) -> Vec<T> {
        self.data
    }

    /// The elements of a run of rows.
    pub fn rows_slice(&self, rows: Range<usize>) -> &[T] {
        &self.data[rows.start * self.cols..rows.end * self.cols]
    }

    /// [`rows_slice`](Self::rows_slice), to write to.
    pub fn rows_slice_mut(&mut self, rows: Range<usize>) -> &mut [T] {
        &mut self.data[rows.start * self.cols..rows.end * self.cols]
    }

    /// A copy of the first `n` columns.
    pub fn first_columns(&self, n: usize) -> Self
    where
        T: Copy,
    {
        let rows = self.data.chunks_exact(self.cols);
        let data = rows.flat_map(|row| &row[..n]).copied().collect();
        Self { rows: self.rows, cols: n, data }
    }

    /// All of it.
    pub fn view(&self) -> MatRef<'_, T> {
        MatRef::new(&self.data, self.rows, self.cols)
    }

    /// Some rows.
    pub fn view_rows(&self, rows: Range<usize>) -> MatRef<'_, T> {
        MatRef::new(self.rows_slice(rows.clone()), rows.len(), self.cols)
    }

    /// All of it, to write to.
    pub fn view_mut(&mut self) -> MatMut<'_, T> {
        MatMut::new(&mut self.data, self.rows, self.cols)
    }

    /// Some rows, to write to.
    pub fn view_rows_mut(&mut self, rows: Range<usize>) -> MatMut<'_, T> {
        let cols = self.cols;
        MatMut::new(self.rows_slice_mut(rows.clone()), rows.len(), cols)
    }
}

impl<T: Copy + Default> Matrix<T> {
    /// `rows × cols` zeros.
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Self { data: vec![T::default(); rows * cols], rows, cols }
    }
}

/// A borrowed matrix: element (i, j) is `data[i * row_stride + j * col_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct MatRef<'a, T> {
    pub(super) data: &'a [T],
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) row_stride: usize,
    pub(super) col_stride: usize,
}

impl<'a, T> MatRef<'a, T> {
    /// A row-major view. Panics unless `data` holds exactly `rows · cols` elements.
    pub fn new(data: &'a [T], rows: usize, cols: usize) -> Self {
        assert_eq!(data.len(), rows * cols, "a {rows} × {cols} view");
        Self { data, rows, cols, row_stride: cols, col_stride: 1 }
    }

    /// The transpose, without moving anything.
    pub fn t(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }
}

/// A borrowed row-major matrix to write to.
#[derive(Debug)]
pub struct MatMut<'a, T> {
    pub(super) data: &'a mut [T],
    pub(super) rows: usize,
    pub(super) cols: usize,
}

impl<'a, T> MatMut<'a, T> {
    /// A row-major view. Panics unless `data` holds exactly `rows · cols` elements.
    pub fn new(data: &'a mut [T], rows: usize, cols: usize) -> Self {
        assert_eq!(data.len(), rows * cols, "a {rows} × {cols} view");
        Self { data, rows, cols }
    }
}
