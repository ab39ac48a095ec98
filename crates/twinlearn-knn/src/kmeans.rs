//! Lloyd's k-means, and how coordinates are shared out among product quantisers.

use twinlearn_core::context::Context;
use twinlearn_core::error::Result;
use twinlearn_core::linalg::{Matrix, arch};
use twinlearn_core::random::{Purpose, below, generator};

use crate::kernels::nearest::{Centres, LANES, nearest};

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

/// Deals columns out to groups whose sizes differ by one at most, each of which gets `bits` bits: each in turn,
/// by falling variance, to the group with the least product of variances so far.
///
/// Columns whose variance is below what they would be rounded by get none of the bits and count as if it
/// were that (reverse water-filling: Cover and Thomas, theorem 10.3.3), so that axes without any variance
/// do not outweigh all others.
#[must_use]
pub fn deal(variances: &[f64], parts: usize, bits: f64) -> Vec<Vec<usize>> {
    let dim = variances.len();
    let sizes: Vec<usize> = (0..parts).map(|s| (s + 1) * dim / parts - s * dim / parts).collect();
    let mut columns: Vec<usize> = (0..dim).collect();
    columns.sort_by(|&a, &b| variances[b].total_cmp(&variances[a]));
    let falling: Vec<f64> = columns.iter().map(|&c| variances[c]).collect();
    let least = falling.last().copied().unwrap_or(0.0);
    let floor = least.max(water_level(&falling, parts as f64 * bits)).max(f64::MIN_POSITIVE);
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

/// By how much each of some normal numbers, of falling variances, is rounded at best with so many bits in
/// all: θ with Σ ½ log₂(v / θ) = bits, over the variances v above it.
fn water_level(falling: &[f64], bits: f64) -> f64 {
    let (mut sum, mut level) = (0.0, 0.0);
    for (i, &v) in falling.iter().enumerate() {
        if v <= level || v <= 0.0 {
            break;
        }
        sum += v.log2();
        level = ((sum - 2.0 * bits) / (i + 1) as f64).exp2();
    }
    level
}

/// Centres, as the search for the nearest one reads them.
#[derive(Clone, Debug, PartialEq)]
pub struct NearestCentre {
    /// Coordinate by coordinate, and half the square of each length.
    columns: Vec<f32>,
    halves: Vec<f32>,
}

impl NearestCentre {
    /// The search among these centres, a row each.
    #[must_use]
    pub fn new(centres: &Matrix) -> Self {
        let (count, width) = (centres.rows(), centres.cols());
        let padded = count.next_multiple_of(LANES);
        let mut halves = vec![f32::INFINITY; padded];
        let mut columns = vec![0.0; padded * width];
        for (c, half) in halves[..count].iter_mut().enumerate() {
            *half = 0.5 * centres.row(c).iter().map(|v| v * v).sum::<f32>();
            for (j, &v) in centres.row(c).iter().enumerate() {
                columns[j * padded + c] = v;
            }
        }
        Self { columns, halves }
    }

    /// Writes for each point the number of its nearest centre, the first of equals. Point i begins at
    /// i · `stride`.
    pub fn find(&self, points: &[f32], stride: usize, out: &mut [u32]) {
        let Self { columns, halves } = self;
        nearest(arch(), Centres { columns, halves }, points, stride, out);
    }
}

/// The nearest centre of each point, the first of equals.
#[must_use]
pub fn nearest_centres(points: &[f32], centres: &Matrix) -> Vec<u32> {
    let width = centres.cols();
    let mut found = vec![0; points.len() / width];
    NearestCentre::new(centres).find(points, width, &mut found);
    found
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
        let groups = deal(&[16.0, 1.0, 8.0, 2.0, 4.0, 4.0], 3, 8.0);
        assert_eq!(groups, [[0, 1], [2, 3], [4, 5]]);
        let sizes: Vec<_> = deal(&[1.0; 7], 3, 8.0).iter().map(Vec::len).collect();
        assert_eq!(sizes, [2, 2, 3]);
    }

    /// 4 and 2 get a bit each, the others none.
    #[test]
    fn small_variances_get_no_bits() {
        assert!((water_level(&[4.0, 2.0, 0.1, 0.0], 2.0) - 2.0_f64.sqrt() / 2.0).abs() < 1e-12);
        assert_eq!(water_level(&[4.0], 1.0), 1.0);
        assert_eq!(water_level(&[0.0, 0.0], 8.0), 0.0);
        // A large one counts as some small ones do, whatever has none at all.
        let mut variances = [1.0; 24];
        variances[0] = 64.0;
        variances[16..].fill(0.0);
        let groups = deal(&variances, 4, 8.0);
        let kept = groups.iter().map(|group| group.iter().filter(|&&j| j < 16).count());
        assert_eq!(kept.collect::<Vec<_>>(), [3, 5, 4, 4], "{groups:?}");
    }

    #[test]
    fn the_first_of_the_nearest_is_found() {
        let centres = Matrix::new(40, 1, (0..40).map(|c| (c / 2) as f32).collect()).unwrap();
        let points: Vec<f32> = (0..20).map(|i| i as f32 + 0.3).collect();
        let found = nearest_centres(&points, &centres);
        assert_eq!(found.len(), 20);
        assert!(found.iter().enumerate().all(|(i, &c)| c == 2 * i as u32), "{found:?}");
    }
    #[test]
    fn the_nearest_is_that_of_brute_force() {
        let value = |i: usize| ((i * i * 7919) % 1009) as f32 / 1009.0 - 0.5;
        for (n, width, count) in [(1, 1, 1), (7, 3, 5), (33, 4, 256), (50, 17, 100), (9, 48, 31)] {
            let stride = width + 2;
            let points: Vec<f32> = (0..n * stride).map(value).collect();
            let centres = (0..count * width).map(|i| value(i + 99)).collect();
            let centres = Matrix::new(count, width, centres).unwrap();
            let mut found = vec![0; n];
            NearestCentre::new(&centres).find(&points, stride, &mut found);
            for (i, &got) in found.iter().enumerate() {
                let square = |c: usize| -> f64 {
                    let pairs = points[i * stride..][..width].iter().zip(centres.row(c));
                    pairs.map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
                };
                let least = (0..count).map(square).fold(f64::INFINITY, f64::min);
                assert!(square(got as usize) <= least + 1e-6, "{n} x {width}, {count} centres");
            }
        }
    }

    #[test]
    fn without_a_distance_the_first_centre_is_named() {
        let centres = Matrix::new(3, 1, vec![f32::MAX; 3]).unwrap();
        assert_eq!(nearest_centres(&[f32::MAX; 5], &centres), [0; 5]);
    }
}
