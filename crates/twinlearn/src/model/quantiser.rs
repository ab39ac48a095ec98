//! Reduced vectors as bytes.

use twinlearn_core::linalg::Matrix;

/// The largest code above the smallest.
const STEPS: f32 = 255.0;
/// The smallest code.
const LOWEST: f32 = -128.0;

/// One byte for each number of a reduced vector, by the range of its dimension.
///
/// With `low` and `high` of dimension j, a value v becomes the code
/// `round(255 · (v − low) / (high − low)) − 128`, clipped to −128 ..= 127; a code c stands for
/// `low + (c + 128) · (high − low) / 255`. Within the range the error is at most half a step,
/// `(high − low) / 510`. Codes of different dimensions have different units: compare what they stand
/// for, or vectors of codes by a metric that knows the ranges.
#[derive(Clone, Debug, PartialEq)]
pub struct ScalarQuantiser {
    pub(super) low: Vec<f32>,
    pub(super) high: Vec<f32>,
}

impl ScalarQuantiser {
    /// The range of each column.
    pub(crate) fn of(rows: &Matrix) -> Self {
        let mut low = vec![f32::INFINITY; rows.cols()];
        let mut high = vec![f32::NEG_INFINITY; rows.cols()];
        for row in rows.as_slice().chunks_exact(rows.cols()) {
            for ((low, high), &v) in low.iter_mut().zip(&mut high).zip(row) {
                *low = low.min(v);
                *high = high.max(v);
            }
        }
        Self { low, high }
    }

    /// The value of each dimension that the lowest code stands for, d numbers.
    #[must_use]
    pub fn low(&self) -> &[f32] {
        &self.low
    }

    /// The value of each dimension that the highest code stands for, d numbers.
    #[must_use]
    pub fn high(&self) -> &[f32] {
        &self.high
    }

    /// The codes of rows, row after row.
    ///
    /// # Panics
    /// When the rows have another dimension.
    #[must_use]
    pub fn encode(&self, rows: &Matrix) -> Vec<i8> {
        assert_eq!(rows.cols(), self.low.len(), "dimension");
        let mut codes = vec![0; rows.as_slice().len()];
        let rows = rows.as_slice().chunks_exact(rows.cols());
        let codes_of = codes.chunks_exact_mut(self.low.len());
        rows.zip(codes_of).for_each(|(row, codes)| self.encode_row(row, codes));
        codes
    }

    /// Writes the code of one row.
    pub(crate) fn encode_row(&self, row: &[f32], codes: &mut [i8]) {
        let ranges = self.low.iter().zip(self.steps());
        for ((code, v), (low, step)) in codes.iter_mut().zip(row).zip(ranges) {
            let scale = if step > 0.0 { 1.0 / step } else { 0.0 };
            // The cast clips.
            *code = (((v - low) * scale).round() + LOWEST) as i8;
        }
    }

    /// What codes stand for.
    ///
    /// # Panics
    /// When they are not whole rows.
    #[must_use]
    pub fn decode(&self, codes: &[i8]) -> Matrix {
        let dim = self.low.len();
        assert!(codes.len().is_multiple_of(dim), "whole rows");
        let mut rows = Matrix::zeros(codes.len() / dim, dim);
        let codes = codes.chunks_exact(dim);
        let rows_of = rows.as_mut_slice().chunks_exact_mut(dim);
        codes.zip(rows_of).for_each(|(codes, row)| self.decode_row(codes, row));
        rows
    }

    /// Writes what one code stands for.
    pub(crate) fn decode_row(&self, codes: &[i8], row: &mut [f32]) {
        let ranges = self.low.iter().zip(self.steps());
        for ((v, &code), (low, step)) in row.iter_mut().zip(codes).zip(ranges) {
            *v = low + (f32::from(code) - LOWEST) * step;
        }
    }

    fn steps(&self) -> impl Iterator<Item = f32> {
        self.low.iter().zip(&self.high).map(|(low, high)| (high - low) / STEPS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_stand_for_their_values_and_are_clipped() {
        let rows = Matrix::new(3, 3, vec![0.0, -2.0, 7.0, 1.0, 3.0, 7.0, 0.3, 0.1, 7.0]).unwrap();
        let quantiser = ScalarQuantiser::of(&rows);
        assert_eq!(
            (quantiser.low(), quantiser.high()),
            (&[0.0, -2.0, 7.0][..], &[1.0, 3.0, 7.0][..])
        );
        let codes = quantiser.encode(&rows);
        assert_eq!(codes, [-128, -128, -128, 127, 127, -128, -51, -21, -128]);
        let back = quantiser.decode(&codes);
        for (i, (a, b)) in rows.as_slice().iter().zip(back.as_slice()).enumerate() {
            let step = [1.0, 5.0, 0.0][i % 3] / 255.0;
            assert!((a - b).abs() <= 0.5001 * step, "{a} {b}");
        }
        let beyond = Matrix::new(1, 3, vec![9.0, -9.0, 8.0]).unwrap();
        assert_eq!(quantiser.encode(&beyond), [127, -128, -128]);
    }
}
