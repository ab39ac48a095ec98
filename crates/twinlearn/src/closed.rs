//! Reductions in closed form: principal axes and their kin. They are what a fit begins with, what it
//! must not fall below, and what it is compared with.
//!
//! With μ the mean and C the covariance of the rows, S = E(xxᵀ) = C + μμᵀ, and L the covariance of
//! differences within lists of neighbours, the forms are the leading axes of
//!
//! - C, each divided by σ^γ, γ in [`POWERS`] (PCA);
//! - S (PCA without centring), where cosines or inner products, which are about the origin, are kept;
//! - ¼ S/tr S + ¾ L/tr L (C for S under l2): axes along which neighbours differ are needed to tell
//!   them apart, however small they are;
//! - ½ S/tr S + ½ R/tr R, R the second moment of queries, where a fit is for some (LeanVec's form for
//!   queries of another distribution with one map, Tepper et al., arXiv 2312.16335).
//!
//! Under cosine and inner product no form takes the mean off; under l2 all do. Where the lengths of
//! rows differ, there are those of C and S also of rows with other lengths ([`crate::lengths`]).

use twinlearn_core::context::Context;
use twinlearn_core::cost;
use twinlearn_core::error::Result;
use twinlearn_core::linalg::{
    Effort, MatRef, Matrix, dot_here, eigen_basis, gram, is_partial, leading_eigen, matmul,
};
use twinlearn_core::random::{Purpose, below, generator};
use twinlearn_vectors::Vectors;

use crate::lengths::Lengths;
use crate::linear_map::LinearMap;
use crate::pairs::Pairs;
use crate::params::Params;
use crate::pca::{Moments, Pca};

/// The powers γ by which the axes of C are divided.
pub(crate) const POWERS: [f64; 4] = [0.0, 0.1, 0.25, 0.5];
/// Those of PCA with the mean taken off where the forms are about the origin: 0 is plain PCA, 1 whitens
/// and ranks best.
pub(crate) const CENTRED: [f64; 3] = [0.0, 0.5, 1.0];
/// Differences that L is taken from, at most, and the ranks of the neighbours.
const DIFFERENCES: usize = 50_000;
const RANKS: usize = 10;
/// Differences read at once.
const ROWS: usize = 1024;
/// The share of S in the last form.
const SHARE: f64 = 0.25;

/// One way to reduce without training.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    /// The axes of C, divided by σ^γ.
    Pca(f64),
    /// The axes of S.
    Uncentred,
    /// The axes of S and L.
    Neighbours,
    /// The axes of S and R.
    Queries,
    /// The axes of C of rows with other lengths, divided by σ^γ.
    PcaOfLengths(f64),
    /// The axes of S of rows with other lengths.
    UncentredOfLengths,
}

/// Whether a form, by its name, looks at neighbours or queries too: solver pca looks at rows alone.
pub(crate) fn sees_more_than_rows(name: &str) -> bool {
    [Form::Neighbours, Form::Queries].iter().any(|form| form.name(false, "") == name)
}

impl Form {
    /// As tables name it; `lengths` are the other ones.
    fn name(self, is_centred: bool, lengths: &str) -> String {
        let of = if is_centred { "PCA" } else { "PCA uncentred" };
        match self {
            Self::Pca(0.0) => of.to_owned(),
            Self::Pca(power) => format!("{of} γ={power}"),
            Self::Uncentred => "PCA of E[xxᵀ]".to_owned(),
            Self::Neighbours => "PCA with neighbours".to_owned(),
            Self::Queries => "PCA with queries".to_owned(),
            Self::PcaOfLengths(power) => Self::Pca(power).name(is_centred, "") + lengths,
            Self::UncentredOfLengths => Self::Uncentred.name(is_centred, "") + lengths,
        }
    }
}

/// Which axes are sought: at most so many of each form, and all of those that are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// The largest d of [`ClosedForms::maps`].
    pub(crate) most: usize,
    /// [`ClosedForms::second`] is a basis.
    pub(crate) basis: bool,
}

impl Wanted {
    /// What a fit of rows of dimension `dim` wants.
    pub(crate) fn of(params: &Params, dim: usize) -> Self {
        Self { most: params.n_components.min(dim), basis: params.is_listed() }
    }

    /// All axes of rows of dimension `dim`.
    #[cfg(test)]
    pub(crate) fn all(dim: usize) -> Self {
        Self { most: dim, basis: true }
    }
}

/// What closed forms are made of.
pub(crate) struct Material<'a> {
    /// Those of the rows.
    pub(crate) moments: &'a Moments,
    /// What there is beside them.
    pub(crate) lengths: &'a Lengths,
    /// L, where there are lists of neighbours.
    pub(crate) differences: Option<&'a Matrix<f64>>,
    /// Whether the mean is taken off.
    pub(crate) is_centred: bool,
}

/// The axes of rows with other lengths.
struct OtherLengths {
    pca: Pca,
    /// Those of S, where the forms are not centred.
    second: Option<Matrix<f64>>,
}

/// All forms, at every d up to the most wanted.
pub(crate) struct ClosedForms {
    pca: Pca,
    /// C, the covariance of the rows.
    covariance: Matrix<f64>,
    is_centred: bool,
    /// The axes of S, of C where the forms are centred, and the variances along them; none where they
    /// are those of `pca`.
    second: Option<(Vec<f64>, Matrix<f64>)>,
    neighbours: Option<Matrix<f64>>,
    queries: Option<Matrix<f64>>,
    other_lengths: Option<OtherLengths>,
    /// Whether the forms are of rows at length 1, and the mean length of those as they are.
    are_units: bool,
    mean_length: f64,
    most: usize,
}

impl ClosedForms {
    /// The closed forms; none where all rows are equal.
    pub(crate) fn new(
        ctx: &Context,
        material: &Material<'_>,
        wanted: Wanted,
    ) -> Result<Option<Self>> {
        let Wanted { most, basis } = wanted;
        let Material { moments, lengths, differences, is_centred } = *material;
        let Lengths { are_units, mean: mean_length, .. } = *lengths;
        let second = if is_centred { moments.covariance.clone() } else { moments.second() };
        let mixed = differences.and_then(|l| mixed(&second, SHARE, l));
        let whole = is_centred && basis && !is_partial(second.rows(), most);
        let second = match (is_centred, basis) {
            (true, false) => None,
            (true, true) if whole => None,
            (_, true) => Some(eigen_basis(ctx, second, most, Effort::EXACT)?),
            (false, false) => Some(leading_eigen(ctx, second, most, None, Effort::EXACT)?),
        };
        let near = second.as_ref().map(|(_, axes)| axes);
        let leading = if whole { None } else { Some((most, near)) };
        let Some(pca) = Pca::of(ctx, moments, leading)? else { return Ok(None) };
        let covariance = moments.covariance.clone();
        let other_lengths = match &lengths.other {
            Some(moments) => OtherLengths::new(ctx, moments, is_centred, most)?,
            None => None,
        };
        let mut forms = Self {
            pca,
            covariance,
            is_centred,
            second,
            neighbours: None,
            queries: None,
            other_lengths,
            are_units,
            mean_length,
            most,
        };
        forms.neighbours = mixed.map(|mixed| forms.leading(ctx, mixed)).transpose()?;
        Ok(Some(forms))
    }

    /// Those of rows with these moments that are all as long as each other.
    #[cfg(test)]
    pub(crate) fn of_moments(
        ctx: &Context,
        moments: &Moments,
        is_centred: bool,
        wanted: Wanted,
    ) -> Self {
        let lengths = Lengths { are_units: false, mean: 1.0, other: None };
        let material = Material { moments, lengths: &lengths, differences: None, is_centred };
        Self::new(ctx, &material, wanted).unwrap().unwrap()
    }

    /// The leading axes of a matrix that is not far from S.
    fn leading(&self, ctx: &Context, a: Matrix<f64>) -> Result<Matrix<f64>> {
        let near = self.second.as_ref().map_or(self.pca.axes(), |(_, axes)| axes);
        leading_eigen(ctx, a, self.most, Some(near), Effort::EXACT).map(|(_, axes)| axes)
    }

    /// With the form for queries that have such moments, beside rows with those.
    pub(crate) fn for_queries(
        self,
        ctx: &Context,
        rows: &Moments,
        queries: &Moments,
    ) -> Result<Self> {
        let nothing = vec![0.0; rows.mean.len()];
        let origin = if self.is_centred { &rows.mean } else { &nothing };
        let axes = match mixed(&rows.about(origin), 0.5, &queries.about(origin)) {
            Some(mixed) => Some(self.leading(ctx, mixed)?),
            None => None,
        };
        Ok(Self { queries: axes, ..self })
    }

    /// The principal components.
    pub(crate) fn pca(&self) -> &Pca {
        &self.pca
    }

    /// An orthonormal basis, as rows, that begins with the leading axes of the second moment about what
    /// the rows are compared about, and the variance along each of its axes.
    pub(crate) fn second(&self) -> (Vec<f64>, &Matrix<f64>) {
        match &self.second {
            Some((values, axes)) => (values.clone(), axes),
            None => (self.pca.std().iter().map(|std| std * std).collect(), self.pca.axes()),
        }
    }

    /// The maps to `n_components` axes, no more than are wanted, by name, plain PCA first; that for
    /// queries among them where they are for some.
    pub(crate) fn maps(
        &self,
        n_components: usize,
        for_queries: bool,
    ) -> Result<Vec<(String, LinearMap)>> {
        let mut all = Vec::new();
        for power in POWERS {
            all.push((Form::Pca(power), self.pca_map(n_components, power)?));
        }
        let mean = self.origin();
        let ones = || std::iter::repeat_n(1.0, n_components);
        let second = self.second.as_ref().filter(|_| !self.is_centred);
        let uncentred = second.map(|(_, axes)| axes);
        for (form, axes) in [
            (Form::Uncentred, uncentred),
            (Form::Neighbours, self.neighbours.as_ref()),
            (Form::Queries, self.queries.as_ref().filter(|_| for_queries)),
        ] {
            if let Some(axes) = axes {
                all.push((form, LinearMap::along(axes, &mean, ones())?));
            }
        }
        Ok(all.into_iter().map(|(form, map)| (form.name(self.is_centred, ""), map)).collect())
    }

    /// The maps of rows with other lengths, by name: none where all are about as long.
    pub(crate) fn maps_of_lengths(&self, n_components: usize) -> Result<Vec<(String, LinearMap)>> {
        let Some(OtherLengths { pca, second }) = &self.other_lengths else { return Ok(Vec::new()) };
        let mean = self.origin();
        let mut all = Vec::new();
        for power in POWERS {
            let map = pca.projection_about(&mean, n_components, power)?;
            all.push((Form::PcaOfLengths(power), map));
        }
        if let Some(axes) = second {
            let ones = std::iter::repeat_n(1.0, n_components);
            all.push((Form::UncentredOfLengths, LinearMap::along(axes, &mean, ones)?));
        }
        let lengths = if self.are_units { ", own lengths" } else { ", unit lengths" };
        let named = |(form, map): (Form, _)| (form.name(self.is_centred, lengths), map);
        Ok(all.into_iter().map(named).collect())
    }

    /// What the forms take off rows.
    fn origin(&self) -> Vec<f64> {
        let mean = self.pca.mean();
        if self.is_centred { mean.to_vec() } else { vec![0.0; mean.len()] }
    }

    /// The maps that take the mean off where the forms do not, by name: no start for training, which is
    /// about the origin, but of rows far from it they may keep more.
    pub(crate) fn centred_maps(&self, n_components: usize) -> Result<Vec<(String, LinearMap)>> {
        let powers: &[f64] = if self.is_centred { &[] } else { &CENTRED };
        powers.iter().map(|&power| self.centred_map(n_components, power)).collect()
    }

    /// PCA of the rows as they are, divided by σ^`power`, by name.
    pub(crate) fn centred_map(
        &self,
        n_components: usize,
        power: f64,
    ) -> Result<(String, LinearMap)> {
        let map = self.of_rows().projection_about(&self.mean_of_rows(), n_components, power)?;
        Ok((Form::Pca(power).name(true, ""), map))
    }

    /// The principal components of the rows as they are, but for their scale where all are as long as
    /// each other.
    fn of_rows(&self) -> &Pca {
        let own = self.other_lengths.as_ref().filter(|_| self.are_units);
        own.map_or(&self.pca, |own| &own.pca)
    }

    /// The mean of the rows as they are.
    pub(crate) fn mean_of_rows(&self) -> Vec<f64> {
        let are_scaled = self.are_units && self.other_lengths.is_none();
        let scale = if are_scaled { self.mean_length } else { 1.0 };
        self.of_rows().mean().iter().map(|m| m * scale).collect()
    }

    /// The standard deviation of each output of a map over the rows, (w·Cw)^½, at least what is
    /// rounding.
    pub(crate) fn spreads(&self, ctx: &Context, map: &LinearMap) -> Vec<f64> {
        let weight = map.weight();
        let (d, dim) = (weight.rows(), weight.cols());
        let wide: Vec<f64> = weight.as_slice().iter().map(|&w| w.into()).collect();
        let mut through = Matrix::<f64>::zeros(d, dim);
        let view = MatRef::new(&wide, d, dim);
        matmul(ctx, 1.0, view, self.covariance.view(), 0.0, through.view_mut());
        let rows = wide.chunks_exact(dim).zip(through.as_slice().chunks_exact(dim));
        rows.map(|(w, cw)| {
            let [square, length] = [cw, w].map(|other| dot_here(w, other).max(0.0).sqrt());
            square.max(self.pca.least_std() * length)
        })
        .collect()
    }

    /// The axes of C divided by σ^`power`.
    pub(crate) fn pca_map(&self, n_components: usize, power: f64) -> Result<LinearMap> {
        let map = self.pca.projection(n_components, power)?;
        Ok(if self.is_centred { map } else { map.without_bias() })
    }

    /// About the seconds of one thread that [`new`](Self::new) takes of so many rows, moments and
    /// differences included.
    pub(crate) fn seconds(n_rows: usize, dim: usize, wanted: Wanted) -> f64 {
        let some = cost::leading(dim, wanted.most, Effort::EXACT);
        let rows = (n_rows + n_rows.min(DIFFERENCES)) as f64;
        2.0 * cost::product(rows * (dim * dim) as f64) + 5.0 * some
    }

    /// Bytes of working memory that [`new`](Self::new) takes, what it keeps among them, beside those
    /// of one eigenproblem.
    pub(crate) fn bytes(dim: usize, wanted: Wanted) -> usize {
        let most = if is_partial(dim, wanted.most) { wanted.most } else { dim };
        let second = if wanted.basis { dim } else { most };
        // C, S, L, a mixture, and C and S of other lengths; six sets of axes.
        8 * dim * (6 * dim + 5 * most + second)
    }
}

impl OtherLengths {
    /// The `most` leading axes; none where all rows are equal.
    fn new(
        ctx: &Context,
        moments: &Moments,
        is_centred: bool,
        most: usize,
    ) -> Result<Option<Self>> {
        let second = match is_centred {
            true => None,
            false => Some(leading_eigen(ctx, moments.second(), most, None, Effort::EXACT)?.1),
        };
        let Some(pca) = Pca::of(ctx, moments, Some((most, second.as_ref())))? else {
            return Ok(None);
        };
        Ok(Some(Self { pca, second }))
    }
}

/// `share` of `a` and the rest of `b`, both of trace 1; none where they have no trace.
fn mixed(a: &Matrix<f64>, share: f64, b: &Matrix<f64>) -> Option<Matrix<f64>> {
    let trace = |m: &Matrix<f64>| (0..m.rows()).map(|i| m.row(i)[i]).sum::<f64>();
    let (of_a, of_b) = (trace(a), trace(b));
    if !(of_a > 0.0 && of_b > 0.0) {
        return None;
    }
    let (by_a, by_b) = (share / of_a, (1.0 - share) / of_b);
    let mut mixed = a.clone();
    mixed.as_mut_slice().iter_mut().zip(b.as_slice()).for_each(|(m, &b)| *m = *m * by_a + b * by_b);
    Some(mixed)
}

/// L: the mean of (x − y)(x − y)ᵀ over a seeded sample of rows x, each with a random one of its
/// nearest neighbours y.
pub(crate) fn differences(
    ctx: &Context,
    x: &dyn Vectors,
    pairs: &Pairs,
    seed: u64,
) -> Result<Matrix<f64>> {
    let dim = x.dim();
    let mut rng = generator(seed, Purpose::Differences, 0);
    let anchors =
        twinlearn_core::random::subset(&mut rng, pairs.len(), DIFFERENCES.min(pairs.len()));
    let chosen: Vec<(u32, u32)> = anchors
        .into_iter()
        .map(|i| {
            let (anchor, list) = pairs.list(i as usize);
            let near = list.len().min(RANKS) as u32;
            (anchor, list[below(&mut rng, near) as usize])
        })
        .collect();
    let mut total = Matrix::<f64>::zeros(dim, dim);
    for chosen in chosen.chunks(ROWS) {
        ctx.check_cancelled()?;
        let mut between = Matrix::<f64>::zeros(chosen.len(), dim);
        ctx.try_for_each_chunk(between.as_mut_slice(), dim, |i, out| {
            let mut rows = vec![0.0; 2 * dim];
            x.gather(&[chosen[i].0, chosen[i].1], &mut rows)?;
            let (a, b) = rows.split_at(dim);
            for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
                *out = f64::from(a) - f64::from(b);
            }
            Ok(())
        })?;
        let view = MatRef::new(between.as_slice(), chosen.len(), dim);
        gram(ctx, view.t(), 1.0, total.view_mut());
    }
    let n = chosen.len() as f64;
    total.as_mut_slice().iter_mut().for_each(|t| *t /= n);
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_the_forms() {
        let ctx = Context::with_threads(1).unwrap();
        for (dim, most, basis) in [(40, 40, true), (40, 6, true), (40, 6, false), (300, 8, true)] {
            let value = |i: usize| ((i * i * 31 % 9973) as f32 * 0.37).sin();
            let x = Matrix::new(400, dim, (0..400 * dim).map(value).collect()).unwrap();
            let moments = Moments::of(&ctx, &x).unwrap();
            let lengths = Lengths { are_units: false, mean: 1.0, other: Some(moments.clone()) };
            let wanted = Wanted { most, basis };
            for is_centred in [true, false] {
                let differences = Some(&moments.covariance);
                let material =
                    Material { moments: &moments, lengths: &lengths, differences, is_centred };
                let made = ClosedForms::new(&ctx, &material, wanted).unwrap().unwrap();
                let made = made.for_queries(&ctx, &moments, &moments).unwrap();
                let other = made.other_lengths.as_ref();
                let matrices = [
                    Some(made.pca.axes()),
                    Some(&made.covariance),
                    made.second.as_ref().map(|(_, axes)| axes),
                    made.neighbours.as_ref(),
                    made.queries.as_ref(),
                    other.map(|other| other.pca.axes()),
                    other.and_then(|other| other.second.as_ref()),
                ];
                let held: usize = matrices.iter().flatten().map(|m| 8 * m.as_slice().len()).sum();
                let bytes = ClosedForms::bytes(dim, wanted);
                // While they are made, five matrices more, and six sets of all axes.
                let besides = 8 * 11 * dim * dim;
                assert!(held <= bytes && bytes <= held + besides, "{dim}, {most}: {held}, {bytes}");
            }
        }
    }
}
