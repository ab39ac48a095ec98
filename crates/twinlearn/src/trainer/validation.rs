//! Rows held out of training, and what they say of an encoder.

use twinlearn_core::context::Context;
use twinlearn_core::error::Result;
use twinlearn_core::linalg::{Matrix, matmul};
use twinlearn_core::progress::Stage;
use twinlearn_core::random::{Purpose, generator, subset};
use twinlearn_knn::recall_scores;
use twinlearn_knn::{Metric, others_of_checked, search_of_checked};
use twinlearn_vectors::{Subset, Vectors, ids_at, spread_ids};

use crate::model::ValidationReport;
use crate::nn::{Network, encode};
use crate::params::Params;
use crate::pca::Pca;

/// Neighbours of a held-out row that a reduction should keep.
pub(super) const RECALL_K: usize = 10;
/// The most training rows among which they are looked for: enough to tell encoders apart.
pub(super) const MAX_WATCHED: usize = 100_000;

/// Nearest rows of a query that are looked at whatever sample the others are, at most.
const NEAREST: usize = 64;
/// The most rows that are reduced at once.
const BLOCK: usize = 2 * MAX_WATCHED;

/// Watched queries that are enough to take whatever keeps most of their neighbours.
const ENOUGH: f64 = 200.0;

/// The rows of a set, split at random by the seed. All lists rise.
pub(super) struct Split {
    pub(super) training: Vec<u32>,
    pub(super) held_out: Vec<u32>,
    /// Those held out by which moments are chosen, and those by which what was chosen is judged.
    pub(super) watched: Vec<u32>,
    pub(super) judged: Vec<u32>,
}

/// How many of so many rows are held out, where `count` are to be: two are the least that can train.
pub(super) fn n_held_out(count: usize, n_rows: usize) -> usize {
    count.min(n_rows.saturating_sub(2))
}

impl Split {
    pub(super) fn new(seed: u64, count: usize, n_rows: usize) -> Self {
        Self::drawn(seed, 0, count, n_rows)
    }

    /// Splits the queries of a fit.
    pub(super) fn of_queries(seed: u64, count: usize, n_queries: usize) -> Self {
        Self::drawn(seed, 1, count, n_queries)
    }

    fn drawn(seed: u64, round: u32, count: usize, n_rows: usize) -> Self {
        let count = n_held_out(count, n_rows);
        let held_out = subset(&mut generator(seed, Purpose::HoldOut, round), n_rows, count);
        let trains = |id: &u32| held_out.binary_search(id).is_err();
        let training = (0..n_rows as u32).filter(trains).collect();
        let [watched, judged] = halves(&held_out);
        Self { training, held_out, watched, judged }
    }

    /// The training rows among which a held-out row's neighbours are looked for: all, or an even
    /// sample of many.
    pub(super) fn base(&self) -> Vec<u32> {
        ids_at(&self.training, &spread_ids(self.training.len(), MAX_WATCHED))
    }

    /// The same for `queries` where all are too many: the nearest to each and an even sample of the
    /// others. In a sample alone a query's nearest rows are farther than in all rows, and another
    /// reduction may keep most of them.
    pub(super) fn near_base(
        &self,
        ctx: &Context,
        x: &dyn Vectors,
        queries: &[Subset<'_>],
        metric: Metric,
    ) -> Result<Vec<u32>> {
        let rows = Subset::new(x, &self.training)?;
        let n_queries = queries.iter().map(Vectors::n_rows).sum::<usize>().max(1);
        let nearest = (MAX_WATCHED / 2 / n_queries).clamp(RECALL_K, NEAREST);
        let mut places = spread_ids(self.training.len(), MAX_WATCHED / 2);
        for queries in queries.iter().filter(|queries| queries.n_rows() > 0) {
            places.extend(search_of_checked(&ctx.quiet(), queries, &rows, nearest, metric)?);
        }
        places.sort_unstable();
        places.dedup();
        Ok(ids_at(&self.training, &places))
    }

    /// Those held out, as places in what was split, or in what `sample` was drawn from.
    pub(super) fn places(self, sample: Option<&[u32]>) -> HeldOutRows {
        let places = |ids: Vec<u32>| match sample {
            None => ids,
            Some(sample) => ids_at(sample, &ids),
        };
        HeldOutRows { all: places(self.held_out), judged: places(self.judged) }
    }

    /// Whether a row may be trained on.
    pub(super) fn trains(&self, id: u32) -> bool {
        self.held_out.binary_search(&id).is_err()
    }
}

/// Rows that a fit held out, and those of them by which nothing was chosen. All lists rise.
pub(crate) struct HeldOutRows {
    pub(crate) all: Vec<u32>,
    pub(crate) judged: Vec<u32>,
}

/// Every second row from the first on, and the others.
pub(super) fn halves(rows: &[u32]) -> [Vec<u32>; 2] {
    [0, 1].map(|first| rows.iter().skip(first).step_by(2).copied().collect())
}

/// What queries are, whose neighbours a reduction should keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asking {
    /// Rows of the set.
    Rows,
    /// The queries that a fit is for.
    Queries,
}

/// Queries of one kind.
struct Group<'a> {
    asking: Asking,
    /// The weight of this group in the score by which moments are chosen.
    share: f64,
    queries: Subset<'a>,
    /// Where the queries are rows of the base, their places in it.
    own: Option<&'a [u32]>,
    truth: Vec<u32>,
}

impl Group<'_> {
    fn again(&self) -> Group<'_> {
        Group { truth: self.truth.clone(), ..*self }
    }
}

/// Measures reductions of the same rows against the original space.
pub(super) struct Watch<'a> {
    base: Subset<'a>,
    groups: Vec<Group<'a>>,
    metric: Metric,
    /// γ of the output.
    whiten: f64,
    /// The sizes below d that are wanted too, and what d must keep.
    nested: Option<(&'a [usize], f64)>,
    pub(super) k: usize,
}

/// The recall of every query, kind by kind.
pub(super) type Scores = Vec<(Asking, Vec<f64>)>;

/// A way to reduce vectors.
pub(super) type Reduce<'a> = dyn Fn(&Context, &dyn Vectors) -> Result<Matrix> + 'a;

impl<'a> Watch<'a> {
    /// Watches no queries yet. `base` are the rows among which their neighbours are searched.
    pub(super) fn new(base: Subset<'a>, params: &Params) -> Self {
        let (metric, whiten) = (params.metric, params.whiten);
        let k = RECALL_K.min(base.n_rows());
        Self { base, groups: Vec::new(), metric, whiten, nested: None, k }
    }

    /// With these queries, if there are any; `own` are their places in the base, where they are rows
    /// of it.
    pub(super) fn watching(
        mut self,
        ctx: &Context,
        (asking, share): (Asking, f64),
        queries: Subset<'a>,
        own: Option<&'a [u32]>,
    ) -> Result<Self> {
        let others = self.base.n_rows() - usize::from(own.is_some());
        if queries.n_rows() == 0 || others == 0 {
            return Ok(self);
        }
        self.k = self.k.min(others);
        let mut group = Group { asking, share, queries, own, truth: Vec::new() };
        group.truth = self.nearest(&ctx.quiet(), &group, &group.queries, &self.base)?;
        self.groups.push(group);
        Ok(self)
    }

    /// This one, if it watches anything.
    pub(super) fn if_any(self) -> Option<Self> {
        (!self.groups.is_empty()).then_some(self)
    }

    /// The same for queries of one kind alone.
    pub(super) fn only(&self, asking: Asking) -> Option<Watch<'_>> {
        let groups = self.groups.iter().filter(|group| group.asking == asking);
        let groups = groups.map(Group::again).collect();
        let Self { base, metric, whiten, k, .. } = *self;
        Watch { base, groups, metric, whiten, nested: None, k }.if_any()
    }

    /// The same with an eye on these sizes below d too: what is chosen by is the mean over all sizes,
    /// of encoders that keep at least `least` at d.
    pub(super) fn nested<'b>(&'b self, sizes: &'b [usize], least: f64) -> Watch<'b> {
        let groups = self.groups.iter().map(Group::again).collect();
        let Self { base, metric, whiten, k, .. } = *self;
        Watch { base, groups, metric, whiten, nested: Some((sizes, least)), k }
    }

    /// How many queries of a kind there are.
    pub(super) fn n_queries(&self, asking: Asking) -> usize {
        let of = self.groups.iter().filter(|group| group.asking == asking);
        of.map(|group| group.queries.n_rows()).sum()
    }

    /// By how much more than the first choice another must keep, to be taken in its place: of few
    /// queries the best of many choices is often so by luck, and worse for others. It is `spread`,
    /// about the standard deviation of a query's difference, by the root of their number; 0 where there
    /// are queries enough.
    pub(super) fn margin(&self, spread: f64) -> f64 {
        let all: f64 = self.groups.iter().map(|group| group.share).sum();
        let part = |group: &Group<'_>| (group.share / all).powi(2) / group.queries.n_rows() as f64;
        // One over the number of queries that one kind of them would be as good as.
        let noise: f64 = self.groups.iter().map(part).sum();
        if noise * ENOUGH <= 1.0 { 0.0 } else { spread * noise.sqrt() }
    }

    /// A report of a moment, without anything that it is compared with.
    pub(super) fn report(&self, recall: f64) -> ValidationReport {
        ValidationReport {
            n_rows: self.n_queries(Asking::Rows),
            k: self.k,
            recall,
            start_recall: None,
            pca_recall: None,
            closed_form: None,
            gain: None,
            nested: Vec::new(),
        }
    }

    /// The k nearest rows of the base, a query itself left out.
    fn nearest(
        &self,
        ctx: &Context,
        group: &Group<'_>,
        queries: &dyn Vectors,
        base: &dyn Vectors,
    ) -> Result<Vec<u32>> {
        let Some(own) = group.own else {
            return search_of_checked(ctx, queries, base, self.k, self.metric);
        };
        others_of_checked(ctx, (queries, own), base, self.k, self.metric)
    }

    /// What is chosen by: recall@k by an encoder, whose output is then whitened where that is asked
    /// for; of several kinds of queries the mean by their shares, of several sizes the mean. Below 0
    /// where d keeps less than it must.
    pub(super) fn recall_of(&self, ctx: &Context, encoder: &Network<f32>) -> Result<f64> {
        let ctx = &ctx.quiet();
        let (base, queries) = self.reduced(ctx, encoder)?;
        let whole = self.mean(&self.found(ctx, &base, &queries)?);
        let Some((sizes, least)) = self.nested else { return Ok(whole) };
        if whole < least {
            return Ok(whole - 1.0);
        }
        let mut sum = whole;
        for &size in sizes {
            let queries: Vec<Matrix> = queries.iter().map(|q| q.first_columns(size)).collect();
            sum += self.mean(&self.found(ctx, &base.first_columns(size), &queries)?);
        }
        Ok(sum / (1 + sizes.len()) as f64)
    }

    /// [`scores`](Self::scores) of an encoder, whose output is whitened as said.
    pub(super) fn scores_of(&self, ctx: &Context, encoder: &Network<f32>) -> Result<Scores> {
        let ctx = &ctx.quiet();
        if self.base.n_rows() <= BLOCK {
            let (base, queries) = self.reduced(ctx, encoder)?;
            return self.found(ctx, &base, &queries);
        }
        let ids = spread_ids(self.base.n_rows(), MAX_WATCHED);
        let rows = Subset::new(&self.base, &ids)?;
        let encoder = whitened(ctx, &rows, encoder.clone(), self.whiten)?.folded();
        self.scores(ctx, &|ctx, x| encode(ctx, &encoder, x))
    }

    /// Base and queries, reduced.
    fn reduced(&self, ctx: &Context, encoder: &Network<f32>) -> Result<(Matrix, Vec<Matrix>)> {
        let encoder = encoder.folded();
        let base = encode(ctx, &encoder, &self.base)?;
        let queries = self.groups.iter().map(|group| encode(ctx, &encoder, &group.queries));
        let queries: Vec<Matrix> = queries.collect::<Result<_>>()?;
        Ok(match whitening(ctx, &base, self.whiten)? {
            None => (base, queries),
            Some(axes) => {
                let turned = |rows: &Matrix| turned(ctx, rows, &axes);
                (turned(&base), queries.iter().map(turned).collect())
            }
        })
    }

    /// The encoder as the user gets it, where its output is whitened.
    pub(super) fn whitened(&self, ctx: &Context, encoder: Network<f32>) -> Result<Network<f32>> {
        whitened(&ctx.quiet(), &self.base, encoder, self.whiten)
    }

    /// recall@k of every query after a reduction.
    pub(super) fn scores(&self, ctx: &Context, reduce: &Reduce<'_>) -> Result<Scores> {
        let ctx = &ctx.quiet();
        let queries = self.groups.iter().map(|group| reduce(ctx, &group.queries));
        let queries: Vec<Matrix> = queries.collect::<Result<_>>()?;
        match self.base.n_rows() <= BLOCK {
            true => self.found(ctx, &reduce(ctx, &self.base)?, &queries),
            false => self.found_in_blocks(ctx, reduce, &queries),
        }
    }

    /// [`found`](Self::found) of a base that is reduced block by block. Of those before a block the
    /// rows are kept that are among the nearest of a query.
    fn found_in_blocks(
        &self,
        ctx: &Context,
        reduce: &Reduce<'_>,
        queries: &[Matrix],
    ) -> Result<Scores> {
        let n = self.base.n_rows() as u32;
        let mut nearest: Vec<Vec<u32>> = vec![Vec::new(); queries.len()];
        let mut kept: Vec<(Vec<u32>, Vec<f32>)> = vec![(Vec::new(), Vec::new()); queries.len()];
        for start in (0..n).step_by(MAX_WATCHED) {
            let block: Vec<u32> = (start..n.min(start + MAX_WATCHED as u32)).collect();
            let reduced = reduce(ctx, &Subset::new(&self.base, &block)?)?;
            for ((queries, (ids, rows)), nearest) in queries.iter().zip(&mut kept).zip(&mut nearest)
            {
                // Rising, so that ties are decided as among all.
                ids.extend_from_slice(&block);
                rows.extend_from_slice(reduced.as_slice());
                let all = Matrix::new(ids.len(), reduced.cols(), std::mem::take(rows))?;
                let found = search_of_checked(ctx, queries, &all, self.k, self.metric)?;
                *nearest = ids_at(ids, &found);
                let mut places = found;
                places.sort_unstable();
                places.dedup();
                *rows = places.iter().flat_map(|&i| all.row(i as usize)).copied().collect();
                *ids = ids_at(ids, &places);
            }
        }
        self.recalls(&nearest)
    }

    fn found(&self, ctx: &Context, base: &Matrix, queries: &[Matrix]) -> Result<Scores> {
        let groups = self.groups.iter().zip(queries);
        let nearest = groups.map(|(group, queries)| self.nearest(ctx, group, queries, base));
        self.recalls(&nearest.collect::<Result<Vec<_>>>()?)
    }

    /// recall@k of every query, by what was found for each group.
    fn recalls(&self, found: &[Vec<u32>]) -> Result<Scores> {
        let groups = self.groups.iter().zip(found);
        groups
            .map(|(group, found)| Ok((group.asking, recall_scores(&group.truth, found, self.k)?)))
            .collect()
    }

    /// The mean by the shares of kinds.
    pub(super) fn mean(&self, scores: &Scores) -> f64 {
        let all: f64 = self.groups.iter().map(|group| group.share).sum();
        let parts = self.groups.iter().zip(scores);
        parts.map(|(group, (_, scores))| group.share / all * mean(scores)).sum()
    }
}

/// The mean of scores.
pub(super) fn mean(scores: &[f64]) -> f64 {
    scores.iter().sum::<f64>() / scores.len().max(1) as f64
}

/// The encoder with its output turned to the principal axes of reduced `rows` and divided by
/// σ^`power`. The origin stays: cosines are about it.
pub(super) fn whitened(
    ctx: &Context,
    rows: &dyn Vectors,
    encoder: Network<f32>,
    power: f64,
) -> Result<Network<f32>> {
    if power == 0.0 {
        return Ok(encoder);
    }
    ctx.stage(Stage::Whiten, rows.n_rows(), || {
        let ctx = &ctx.quiet();
        let axes = whitening(ctx, &encode(ctx, &encoder.folded(), rows)?, power)?;
        Ok(match axes {
            Some(axes) => encoder.mapped(axes),
            None => encoder,
        })
    })
}

/// The encoder with its output turned to the principal axes of reduced `rows`.
pub(super) fn turned_to_axes(
    ctx: &Context,
    rows: &dyn Vectors,
    encoder: Network<f32>,
) -> Result<Network<f32>> {
    match Pca::fit(ctx, &encode(ctx, &encoder.folded(), rows)?)? {
        Some(pca) => Ok(encoder.mapped(pca.projection(pca.mean().len(), 0.0)?.weight)),
        None => Ok(encoder),
    }
}

/// The map of reduced rows to their principal axes, divided by σ^`power`; none for power 0.
fn whitening(ctx: &Context, reduced: &Matrix, power: f64) -> Result<Option<Matrix>> {
    if power == 0.0 {
        return Ok(None);
    }
    let pca = Pca::fit(ctx, reduced)?.ok_or_else(Pca::equal_rows)?;
    Ok(Some(pca.projection(reduced.cols(), power)?.weight))
}

fn turned(ctx: &Context, rows: &Matrix, axes: &Matrix) -> Matrix {
    let mut out = Matrix::zeros(rows.rows(), axes.rows());
    matmul(ctx, 1.0, rows.view(), axes.view().t(), 0.0, out.view_mut());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_takes_every_row_once() {
        let split = Split::new(0, 300, 1000);
        assert_eq!((split.training.len(), split.held_out.len()), (700, 300));
        let mut all = [split.training.clone(), split.held_out.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..1000).collect::<Vec<u32>>());
        assert!(split.held_out.iter().all(|&id| !split.trains(id)));
        let mut held_out = [split.watched.clone(), split.judged.clone()].concat();
        held_out.sort_unstable();
        assert_eq!((held_out, split.judged.len()), (split.held_out.clone(), 150));
        // Spread over the whole range, not its start: 150 expected, σ = 7.2.
        let early = split.held_out.iter().filter(|&&id| id < 500).count();
        assert!(early.abs_diff(150) < 36, "{early}");
    }

    #[test]
    fn two_rows_always_train() {
        assert_eq!(Split::new(0, 3, 3).training.len(), 2);
    }
}
