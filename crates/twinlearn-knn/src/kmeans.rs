//! Lloyd's k-means, and how coordinates are shared out among product quantisers.

use twinlearn_core::context::Context;
use twinlearn_core::error::Result;
use twinlearn_core::linalg::{MatMut, MatRef, Matrix, matmul_here, vectorised};
use twinlearn_core::random::{Purpose, below, generator};

/// Points whose products with the centres are made at once.
const TILE: usize = 256;
/// Distances that are compared at once.
const LANES: usize = 16;
/// By what share the halves of a split centre differ from it.
const SPLIT: f32 = 1.0 / 1024.0;

/// The variance of each column of rows of `dim` numbers.
#[must_use]
pub fn variances(rows: &[f32], dim: usize) -> Vec<f64> {
    let n = (rows.len() / dim) as f64;
    let (mut sums, mut squares) = (vec![0.0; dim], vec![0.0; dim]);
    for row in rows.chunks_exact(dim) {
        for ((&v, sum), square) in row.iter().zip(&mut sums).zip(&mut squares) {
            *sum += f64::from(v);
            *square += f64::from(v) * f64::from(v);
        }
    }
    sums.iter()
        .zip(squares)
        .map(|(sum, square)| (square / n - (sum / n).powi(2)).max(0.0))
        .collect()
}

/// Deals columns out to groups whose sizes differ by one at most: each in turn, by falling
/// variance, to the group with the least product of variances so far.
#[must_use]
pub fn deal(variances: &[f64], parts: usize) -> Vec<Vec<usize>> {
    let dim = variances.len();
    let sizes: Vec<usize> = (0..parts).map(|s| (s + 1) * dim / parts - s * dim / parts).collect();
    let mut columns: Vec<usize> = (0..dim).collect();
    columns.sort_by(|&a, &b| variances[b].total_cmp(&variances[a]));
    let floor = columns.last().map_or(0.0, |&c| variances[c]).max(f64::MIN_POSITIVE);
    let mut groups = vec![Vec::new(); parts];
    // Logarithms of products of variances relative to the least, so that each column counts.
    let mut products = vec![0.0_f64; parts];
    for column in columns {
        let open = (0..parts).filter(|&s| groups[s].len() < sizes[s]);
        let Some(s) = open.min_by(|&a, &b| products[a].total_cmp(&products[b])) else { break };
        groups[s].push(column);
        products[s] += (variances[column].max(floor) / floor).ln();
    }
    groups
}

/// The nearest centre of each point, the first of equals.
#[must_use]
pub fn nearest_centres(points: &[f32], centres: &Matrix) -> Vec<u32> {
    let (count, width) = (centres.rows(), centres.cols());
    let halves: Vec<f32> =
        (0..count).map(|c| 0.5 * centres.row(c).iter().map(|v| v * v).sum::<f32>()).collect();
    let mut found = Vec::with_capacity(points.len() / width);
    let mut products = Vec::new();
    for points in points.chunks(TILE * width) {
        let n = points.len() / width;
        products.resize(n * count, 0.0);
        let (a, b) = (MatRef::new(points, n, width), centres.view().t());
        matmul_here(-1.0, a, b, 0.0, MatMut::new(&mut products, n, count));
        vectorised(
            #[inline(always)]
            || {
                for distances in products.chunks_exact_mut(count) {
                    distances.iter_mut().zip(&halves).for_each(|(d, half)| *d += half);
                    found.push(least(distances));
                }
            },
        );
    }
    found
}

/// The place of the least of some numbers, the first of equals.
#[inline(always)]
fn least(values: &[f32]) -> u32 {
    let mut lanes = [f32::INFINITY; LANES];
    let (whole, tail) = values.as_chunks::<LANES>();
    for chunk in whole {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane = if v < *lane { v } else { *lane };
        }
    }
    let least = lanes.iter().chain(tail).fold(f32::INFINITY, |a, &b| if b < a { b } else { a });
    values.iter().position(|&v| v == least).unwrap_or(0) as u32
}

/// `count` points drawn at random, fewer where there are fewer: what k-means begins with. A stream of
/// random numbers belongs to each `book`.
///
/// # Errors
/// When points are not whole rows.
pub fn drawn_centres(
    points: &[f32],
    width: usize,
    count: usize,
    seed: u64,
    book: u32,
) -> Result<Matrix> {
    let n = points.len() / width;
    let mut rng = generator(seed, Purpose::Quantiser, book);
    let mut order: Vec<usize> = (0..n).collect();
    for i in 0..count.min(n) {
        order.swap(i, i + below(&mut rng, (n - i) as u32) as usize);
    }
    order.truncate(count);
    let rows = order.iter().flat_map(|&i| &points[i * width..][..width]);
    Matrix::new(order.len(), width, rows.copied().collect())
}

/// One round of Lloyd's: each centre becomes the mean of the points that it is nearest to. A centre that
/// has no points takes half of those of the fullest one, so that many equal points (the borders of
/// images, say) waste none. Returns the nearest centres before.
pub fn lloyd(points: &[f32], centres: &mut Matrix) -> Vec<u32> {
    let width = centres.cols();
    let nearest = nearest_centres(points, centres);
    let mut sums = vec![0.0; centres.rows() * width];
    let mut counts = vec![0.0; centres.rows()];
    for (point, &centre) in points.chunks_exact(width).zip(&nearest) {
        counts[centre as usize] += 1.0;
        let sum = &mut sums[centre as usize * width..][..width];
        sum.iter_mut().zip(point).for_each(|(s, &v)| *s += f64::from(v));
    }
    let rows = centres.as_mut_slice().chunks_exact_mut(width);
    for ((centre, sum), &count) in rows.zip(sums.chunks_exact(width)).zip(&counts) {
        if count > 0.0 {
            centre.iter_mut().zip(sum).for_each(|(c, s)| *c = (s / count) as f32);
        }
    }
    for empty in 0..counts.len() {
        if counts[empty] == 0.0 {
            let full = (0..counts.len()).fold(0, |a, b| if counts[b] > counts[a] { b } else { a });
            counts[full] /= 2.0;
            counts[empty] = counts[full];
            for j in 0..width {
                let all = centres.as_mut_slice();
                let (value, sign) = (all[full * width + j], if j % 2 == 0 { 1.0 } else { -1.0 });
                all[empty * width + j] = value * (1.0 + sign * SPLIT);
                all[full * width + j] = value * (1.0 - sign * SPLIT);
            }
        }
    }
    nearest
}

/// `count` centres of points by so many rounds, from points drawn at random.
///
/// # Errors
/// When the work is cancelled, or points are not whole rows.
pub fn k_means(
    ctx: &Context,
    points: &[f32],
    (width, count): (usize, usize),
    rounds: usize,
    (seed, book): (u64, u32),
) -> Result<Matrix> {
    let mut centres = drawn_centres(points, width, count, seed, book)?;
    for _ in 0..rounds {
        ctx.check_cancelled()?;
        lloyd(points, &mut centres);
    }
    Ok(centres)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_equal_products() {
        let groups = deal(&[16.0, 1.0, 8.0, 2.0, 4.0, 4.0], 3);
        assert_eq!(groups, [[0, 1], [2, 3], [4, 5]]);
        let sizes: Vec<_> = deal(&[1.0; 7], 3).iter().map(Vec::len).collect();
        assert_eq!(sizes, [2, 2, 3]);
    }

    #[test]
    fn the_first_of_the_nearest_is_found() {
        let centres = Matrix::new(40, 1, (0..40).map(|c| (c / 2) as f32).collect()).unwrap();
        let points: Vec<f32> = (0..20).map(|i| i as f32 + 0.3).collect();
        let found = nearest_centres(&points, &centres);
        assert!(found.iter().enumerate().all(|(i, &c)| c == 2 * i as u32), "{found:?}");
    }
}
